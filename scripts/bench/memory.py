"""What an idle shim holds, by how many there are, and the daemon above them. See `bench.sh --help`.

One kind of shim after the other: what several processes share counts in parts only (PSS), so that both of ours at a time would
look better than each. All numbers are read when nothing has happened for longer than any of them keeps a thread or a page in reserve.
"""
import contextlib
import statistics
import time

import frame
import peers

# Idle threads of .NET's pool and Go's are given back before that.
CALM = 25


def measure(shims):
    """The median shim. All must still be there."""
    kinds = {"pss": "Pss", "dirty": "Private_Dirty", "rss": "Rss"}
    found = {kind: [] for kind in (*kinds, "threads")}
    for pid in shims:
        memory = frame.memory(pid)
        if not memory.get("Pss"):
            raise frame.Failure("shim %d has ended" % pid)
        for kind, name in kinds.items():
            found[kind].append(memory[name])
        found["threads"].append(frame.threads(pid))
    figures = {kind: statistics.median(values) for kind, values in found.items()}
    # Somebody else's shims would bear a part of what ours share.
    if frame.running(frame.program(shims[0])) != set(shims):
        figures["pss"] = None
    figures["worst_dirty"] = max(found["dirty"])
    figures["mean_threads"] = statistics.mean(found["threads"])
    return figures


def main():
    options = frame.arguments("memory", rounds=1)
    report = frame.Report(options)
    counts = [1, 10] if options.quick else [1, 10, 100, 500]
    calm = 3 if options.quick else CALM
    with contextlib.ExitStack() as stack:
        ground = peers.Ground(options, stack)
        rows = frame.chosen(options, peers.with_shims(ground))
        tokens = frame.tokens()

        def grow(name, peer):
            """One peer, from no container to all of them."""
            with peers.Crowd(peer, tokens, name) as crowd:
                for count in counts:
                    crowd.grow(count)
                    shims = crowd.find_shims()
                    time.sleep(calm)
                    daemon = peer.daemon()
                    held = frame.memory(daemon.pid) if daemon else {}
                    report.add(
                        table="memory", row=name, round=turn, containers=count, **measure(shims),
                        daemon_pss=held.get("Pss"), daemon_dirty=held.get("Private_Dirty"))

        for turn in range(options.rounds):
            for name, peer in rows:
                if report.failed("memory", name):
                    continue
                # Each begins with a daemon that has nothing behind it.
                ground.fresh()
                try:
                    grow(name, peer)
                except frame.Failure as failure:
                    report.fail("memory", name, str(failure))
                    frame.say("%s: %s" % (name, failure))
    report.write()
    report.heading()
    columns = ["", "PSS", "private dirty", "most", "RSS", "threads", "daemon PSS"]
    for count in counts:
        print_count(report, rows, columns, count)
    print(
        "\nKB, medians of all shims of a row, read %d s after the last start; most: the largest private dirty memory; threads: mean."
        "\nPSS: none where somebody else ran the same program, who would have shared it. Daemon: containerd, our supervisor; podman has none."
        "\nStreams are /dev/null." % calm)
    print("all samples: %s" % report.path)
    return report.result()


def print_count(report, rows, columns, count):
    def cell(name, measure, form="%.0f"):
        values = [sample[measure] for sample in report.samples if sample["row"] == name and sample["containers"] == count]
        return "-" if None in values else form % statistics.median(values)

    lines = []
    for name, _ in rows:
        if any(sample["row"] == name and sample["containers"] == count for sample in report.samples):
            lines.append(
                [name] + [cell(name, measure) for measure in ("pss", "dirty", "worst_dirty", "rss")]
                + [cell(name, "mean_threads", "%.1f"), cell(name, "daemon_pss")])
        else:
            lines.append([name, report.failures["memory", name]])
    frame.print_table("memory of an idle shim, %d container%s" % (count, "s"[:count > 1]), columns, lines)


if __name__ == "__main__":
    frame.execute(main)
