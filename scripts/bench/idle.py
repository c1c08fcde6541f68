"""How often a shim wakes up while nothing happens, and what that costs: all kinds of shim at the same time. See `bench.sh --help`."""
import contextlib
import statistics
import time

import frame
import peers

class Watch:
    """What one process does from now on. Reading /proc wakes nobody up."""

    def __init__(self, pid):
        self.pid = pid
        self._first = frame.voluntary_switches(pid)
        self._last = dict(self._first)
        self._cpu = frame.cpu_seconds(pid)

    def look(self):
        """Now and then, so that a thread that ends is not forgotten: the kernel counts by thread."""
        self._last.update(frame.voluntary_switches(self.pid))

    def result(self):
        cpu = frame.cpu_seconds(self.pid)
        if cpu < self._cpu or cpu == 0:
            raise frame.Failure("shim %d has ended" % self.pid)
        # To end, a thread has woken up as well.
        gone = len(self._last.keys() - frame.voluntary_switches(self.pid).keys())
        return gone + sum(count - self._first.get(thread, 0) for thread, count in self._last.items()), cpu - self._cpu


def main():
    options = frame.arguments("idle", rounds=1)
    report = frame.Report(options)
    count, calm, seconds = (2, 5, 10) if options.quick else (20, 30, 60)
    with contextlib.ExitStack() as stack:
        rows = frame.chosen(options, peers.with_shims(peers.Ground(options, stack)))
        tokens = frame.tokens()
        watched = {}
        for name, peer in rows:
            crowd = stack.enter_context(peers.Crowd(peer, tokens, name))
            try:
                crowd.grow(count)
                watched[name] = crowd.find_shims()
            except frame.Failure as failure:
                report.fail("idle", name, str(failure))
                frame.say("%s: %s" % (name, failure))
        for turn in range(options.rounds):
            frame.say("round %d of %d: %d s of nothing" % (turn + 1, options.rounds, calm + seconds))
            time.sleep(calm)
            watches = {name: [Watch(pid) for pid in shims] for name, shims in watched.items()}
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(min(5.0, max(0.0, end - time.monotonic())))
                for watch in (watch for group in watches.values() for watch in group):
                    watch.look()
            for name, group in watches.items():
                try:
                    for switches, cpu in [watch.result() for watch in group]:
                        report.add(table="idle", row=name, round=turn, seconds=seconds, switches=switches, cpu_us=cpu * 1e6)
                except (frame.Failure, OSError) as failure:
                    report.fail("idle", name, str(failure))
    report.write()
    report.heading()
    lines = []
    for name, _ in rows:
        if report.failed("idle", name):
            lines.append([name, report.failures["idle", name]])
            continue
        switches, cpu = report.of("idle", name, "switches"), report.of("idle", name, "cpu_us")
        lines.append([
            name, "%.1f" % statistics.mean(switches), "%.0f" % statistics.median(switches), "%d" % max(switches),
            "%.2f" % (statistics.mean(switches) / seconds), "%.1f" % (statistics.mean(cpu) / seconds), "%.1f" % (max(cpu) / seconds)])
    frame.print_table(
        "an idle shim, in %d s; %d of each kind at the same time" % (seconds, count),
        ["", "wake-ups", "median", "most", "per second", "us CPU/s", "most"], lines)
    print(
        "\nWake-ups: voluntary context switches of all threads of one shim, mean, median and the busiest; CPU: microseconds a second,"
        "\nmean and the busiest. Counted from %d s after the last start on. Streams are /dev/null." % calm)
    print("all samples: %s" % report.path)
    return report.result()


if __name__ == "__main__":
    frame.execute(main)
