"""Whether a shim grows by what it has done: execs and state calls against one shim, and its memory before and after. See `bench.sh --help`."""
import contextlib
import time

import frame
import peers

# An exec is what leaves something behind, a state call is what monitoring asks for all day: one to nine, 200,000 in all. An exec takes
# about 30 ms whoever does it, so that the shims under containerd, which share their way, get a tenth.
EXECS, STATES = 20000, 180000
SHARE = {"ours, supervised": 1.0, "ours, under containerd": 0.1, "containerd, Go shim": 0.1}
WIDTH = 4
SLICES = 10
# Idle threads and what a collector gives back take up to 20 s.
CALM, PATIENCE = 25, 60


def calm(pid, quiet, patience):
    """Private dirty KB when it has not changed any more for `quiet` seconds, or after `patience` seconds as it is then."""
    end = time.monotonic() + patience
    since, last = time.monotonic(), frame.private_dirty(pid)
    while time.monotonic() < end and time.monotonic() - since < quiet:
        time.sleep(1)
        now = frame.private_dirty(pid)
        if now == 0:
            raise frame.Failure("shim %d has ended" % pid)
        if now != last:
            since, last = time.monotonic(), now
    return last


def soak(options, report, name, peer, tokens, names):
    share = SHARE[name] * (0.01 if options.quick else 1)
    execs, states = int(EXECS * share) // SLICES, int(STATES * share) // SLICES
    quiet, patience = (5, 15) if options.quick else (CALM, PATIENCE)
    with peers.Crowd(peer, tokens, name) as crowd:
        token, = crowd.grow(1)
        shim, = crowd.find_shims()
        before = calm(shim, quiet, patience)
        begin = time.monotonic()
        most = before

        def one_exec(exec_name):
            peer.exec(token, exec_name)
            peer.forget(token, exec_name)

        for part in range(SLICES * options.rounds):
            frame.together(one_exec, [next(names) for _ in range(execs)], WIDTH)
            frame.together(lambda _: peer.state(token), range(states), WIDTH)
            dirty = frame.private_dirty(shim)
            most = max(most, dirty)
            report.add(table="course", row=name, calls=(part + 1) * (execs + states), dirty=dirty)
            frame.say("%s: %d of %d, %d KB" % (name, part + 1, SLICES * options.rounds, dirty))
        seconds = time.monotonic() - begin
        after = calm(shim, quiet, patience)
        # The same shim, and still at work.
        if crowd.find_shims() != [shim]:
            raise frame.Failure("the shim has been replaced")
        return {
            "execs": execs * SLICES * options.rounds, "states": states * SLICES * options.rounds, "seconds": seconds,
            "before": before, "most": most, "after": after, "growth": after - before}


def main():
    options = frame.arguments("soak", rounds=1)
    report = frame.Report(options)
    with contextlib.ExitStack() as stack:
        ground = peers.Ground(options, stack)
        # podman has no shim that serves calls: each exec is a conmon of its own.
        rows = frame.chosen(options, [row for row in peers.with_shims(ground) if row[0] in SHARE])
        tokens, names = frame.tokens(), frame.tokens()
        # One after the other, each with all of the machine: one sample each.
        frame.in_turn(report, "soak", [(row[0], row) for row in rows], 0, lambda row: soak(options, report, *row, tokens, names))
    report.write()
    report.heading()
    lines = []
    for name, _ in rows:
        if report.failed("soak", name):
            lines.append([name, report.failures["soak", name]])
            continue
        sample = next(sample for sample in report.samples if sample["table"] == "soak" and sample["row"] == name)
        calls = sample["execs"] + sample["states"]
        lines.append(
            [name] + ["%d" % sample[measure] for measure in ("execs", "states", "before", "most", "after", "growth")]
            + ["%.1f" % (sample["growth"] * 1024 / calls), "%.0f" % sample["seconds"]])
    frame.print_table(
        "private dirty memory of one shim, KB", ["", "execs", "state calls", "before", "most", "after", "growth", "bytes a call", "seconds"], lines)
    print(
        "\nBefore and after: when it has not changed for %d s, at most %d s after the last call; most: of %d looks on the way. %d calls at a time;"
        "\neach exec is deleted. State: supervised the container's processes, under containerd the task: both ask the shim."
        % (5 if options.quick else CALM, 15 if options.quick else PATIENCE, SLICES * options.rounds, WIDTH))
    print("all samples: %s" % report.path)
    return report.result()


if __name__ == "__main__":
    frame.execute(main)
