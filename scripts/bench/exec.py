"""How long one more process takes in a container that runs, and how many a second when 20 are asked for at a time. See `bench.sh --help`."""
import contextlib
import itertools
import time

import frame
import peers

WIDTH = 20


def main():
    options = frame.arguments("exec")
    report = frame.Report(options)
    turns = 2 if options.quick else 20
    burst = WIDTH if options.quick else 3 * WIDTH
    with contextlib.ExitStack() as stack:
        # There is no other exec for who stays in the foreground.
        rows = frame.chosen(options, [row for row in peers.all_of(peers.Ground(options, stack)) if row[0] != "runc run"])
        tokens, names = frame.tokens(), map("e{}".format, itertools.count(1))
        name_of = {peer: name for name, peer in rows}
        containers = {}

        def container_of(peer):
            if peer not in containers:
                containers[peer], = stack.enter_context(peers.Crowd(peer, tokens, name_of[peer])).grow(1)
            return containers[peer]

        def one(peer):
            token, name = container_of(peer), next(names)
            result = {"ms": frame.milliseconds(peer.exec, token, name)}
            peer.forget(token, name)
            return result

        def many(peer):
            token = container_of(peer)
            asked = [next(names) for _ in range(burst)]
            begin = time.perf_counter()
            frame.together(lambda name: peer.exec(token, name), asked, WIDTH)
            seconds = time.perf_counter() - begin
            for name in asked:
                peer.forget(token, name)
            peer.settle()
            return {"per second": burst / seconds}

        for turn in range(options.rounds):
            frame.say("round %d of %d" % (turn + 1, options.rounds))
            for more in range(turns):
                frame.in_turn(report, "sequential", rows, turn * turns + more, one)
            frame.in_turn(report, "concurrent", rows, turn, many)
    report.write()
    report.heading()
    frame.print_table(
        "exec of `true`, one after the other; %d samples" % (options.rounds * turns), *frame.compared(report, "sequential", rows, "ms"))
    frame.print_table(
        "exec of `true`, %d at a time; %d samples of %d" % (WIDTH, options.rounds, burst),
        *frame.compared(report, "concurrent", rows, "per second", more_is_better=True))
    print(
        "\nms, per second: median, best, and the worst of a hundred (with few samples: the worst). All execs of a row are in one container."
        "\n%s: `runc exec`. API, gRPC: start and wait; that an exec is deleted afterwards is not measured (the CLIs do it themselves)." % frame.FLOOR)
    print("all samples: %s" % report.path)
    return report.result()


if __name__ == "__main__":
    frame.execute(main)
