"""From nothing to nothing: how long a container takes whose only process is `true`, and how long until one runs. See `bench.sh --help`."""
import contextlib
import statistics
import time

import frame
import peers

TABLES = {
    "lifecycle": (peers.TRUE, "create, start, wait for the end, delete: `true`"),
    "detached": (peers.SLEEP, "create and start, detached: `sleep`"),
}


def main():
    options = frame.arguments("lifecycle")
    report = frame.Report(options)
    turns = 2 if options.quick else 20
    with contextlib.ExitStack() as stack:
        rows = frame.chosen(options, peers.all_of(peers.Ground(options, stack)))
        # What stays in the foreground is no way to be detached.
        of_table = {"lifecycle": rows, "detached": [row for row in rows if row[0] != "runc run"]}
        tokens = frame.tokens()

        def sample(table, peer):
            token = next(tokens)
            peer.prepare(token, TABLES[table][0])
            try:
                begin = time.perf_counter()
                steps = peer.lifecycle(token) if table == "lifecycle" else peer.start(token)
                result = {"ms": (time.perf_counter() - begin) * 1e3, **(steps or {})}
                if table == "detached":
                    peer.check_running(token)
            except frame.Failure:
                with contextlib.suppress(frame.Failure):
                    peer.remove(token)
                raise
            if table == "detached":
                peer.remove(token)
            peer.settle()
            return result

        for turn in range(options.rounds * turns):
            if turn % turns == 0:
                frame.say("round %d of %d" % (turn // turns + 1, options.rounds))
            for table, chosen in of_table.items():
                if chosen:
                    frame.in_turn(report, table, chosen, turn, lambda peer, table=table: sample(table, peer))
    report.write()
    report.heading()
    for table, (_, title) in TABLES.items():
        if of_table[table]:
            frame.print_table(title + "; %d samples" % (options.rounds * turns), *frame.compared(report, table, of_table[table], "ms"))
    print_steps(report)
    print(
        "\nms: median, best, and the slowest of a hundred (with few samples: the slowest); the first sample of all is measured, too."
        "\n%s: its verbs from a program that is the container's parent. API: containers and tasks by gRPC; CLI: `supervisor run`."
        "\nDetached: no streams (/dev/null) for everybody; ended and deleted outside of the measurement." % frame.FLOOR)
    print("all samples: %s" % report.path)
    return report.result()


STEPS = ["create", "start", "wait", "delete"]


def print_steps(report):
    """Of those whose steps are separate calls."""
    samples = [sample for sample in report.samples if "create" in sample]
    lines = []
    for name in dict.fromkeys(sample["row"] for sample in samples):
        lines.append([name] + [
            "%.1f" % statistics.median(sample[step] for sample in samples if sample["row"] == name) for step in STEPS])
    if lines:
        frame.print_table("lifecycle by step: medians, ms", ["", *STEPS], lines)


if __name__ == "__main__":
    frame.execute(main)
