"""How fast many containers start, and what a supervisor of a thousand is like. See `bench.sh --help`."""
import contextlib
import re
import signal
import socket
import statistics
import time

import frame
import peers

OURS = "ours: gRPC"
PATIENCE = 120.0
WIDTHS = {"one by one": 1, "8 at a time": 8}
READS = {
    "list": "ListContainers",
    "inspect": "Inspect, without processes",
    "get": "GetContainer",
    "processes": "ListProcesses: asks the container's shim",
}


def start_rates(options, report, rows, tokens, count):
    """All of one row, then all of the next: while one is measured nobody else has containers."""
    for turn in range(options.rounds):
        for table, width in WIDTHS.items():
            def sample(named, width=width):
                name, peer = named
                with peers.Crowd(peer, tokens, "%s, %s" % (name, table), width) as crowd:
                    # Bundles are not part of it, Crowd makes them before.
                    crowd.grow(count)
                    result = {"per second": count / crowd.seconds}
                peer.settle()
                return result

            frame.say("round %d of %d, %s" % (turn + 1, options.rounds, table))
            frame.in_turn(report, table, [(name, (name, peer)) for name, peer in rows], turn, sample)


class Thousand:
    """One supervisor with all of its containers."""

    def __init__(self, supervisor, crowd, report):
        self.supervisor, self.crowd, self.report = supervisor, crowd, report

    def _ask(self, what, token):
        supervisor = self.supervisor
        if what == "list":
            answer = supervisor.call(supervisor.execution.ListContainers, supervisor.messages.ListContainersRequest())
            right = all_run(answer.containers, self.crowd)
        elif what == "inspect":
            answer = supervisor.call(supervisor.more.Inspect, supervisor.more_messages.InspectRequest(no_processes=True))
            right = all_run(answer.containers, self.crowd)
        elif what == "all":
            answer = supervisor.call(supervisor.more.Inspect, supervisor.more_messages.InspectRequest())
            right = all_run(answer.containers, self.crowd) and all(one.processes and not one.shim.trouble for one in answer.containers)
        elif what == "get":
            answer = supervisor.call(supervisor.execution.GetContainer, supervisor.messages.GetContainerRequest(id=token))
            right = answer.container.id == token and answer.container.status == supervisor.messages.RUNNING
        else:
            answer = supervisor.call(supervisor.execution.ListProcesses, supervisor.messages.ListProcessesRequest(container_id=token))
            right = len(answer.processes) == 1
        if not right:
            raise frame.Failure("%s has answered something else than what runs" % what)

    def read(self, samples):
        for what in READS:
            for number in range(samples):
                token = self.crowd.containers[number * 7919 % len(self.crowd.containers)]
                # The connection and the first answers of a kind are slower; what is asked for is a supervisor that has been asked before.
                self._ask(what, token) if number == 0 else None
                self.report.add(table="reads", row=what, ms=frame.milliseconds(self._ask, what, token))

    def weigh(self, row):
        held = frame.memory(self.supervisor.process.pid)
        self.report.add(table="supervisor", row=row, pss=held["Pss"], dirty=held["Private_Dirty"], threads=frame.threads(self.supervisor.process.pid))

    def restart(self, turn, how):
        """
        From the start of a new supervisor until it serves, until it has adopted all containers, and until each shim has answered through it.
        It adopts before it serves, if it can do so in time; what it says of itself tells.
        """
        supervisor = self.supervisor
        said = len(supervisor.log())
        supervisor.process.send_signal(how)
        if not frame.ended(supervisor.process.pid, frame.DEADLINE):
            raise frame.Failure("the supervisor does not end after %s" % how.name)
        supervisor.process.wait()
        begin = time.perf_counter()
        supervisor.start()
        frame.until(lambda: connects(supervisor.socket), "the socket", pause=0.001)
        supervisor.connect()
        frame.until(lambda: self._answers("list"), "a list of all", PATIENCE)
        served = time.perf_counter()
        # Seldom: asking all of them delays those that are still being adopted.
        frame.until(lambda: self._answers("all"), "an answer of all shims", PATIENCE, pause=0.5)
        asked = time.perf_counter()
        count = len(self.crowd.containers)
        adopted = re.search(r"recovery: (\d+) containers found, (\d+) ready after (\d+) ms", supervisor.log()[said:])
        if not adopted or int(adopted[1]) != count:
            raise frame.Failure("%d containers, and the new supervisor says: %s" % (count, adopted[0] if adopted else "nothing of a recovery"))
        ready = int(adopted[2])
        self.report.add(
            table="restart", row=how.name, round=turn, ready=ready, recovery_ms=int(adopted[3]), served_ms=(served - begin) * 1e3,
            adopted_ms=((served if ready == count else asked) - begin) * 1e3, asked_ms=(asked - begin) * 1e3)

    def _answers(self, what):
        """Whether it does so completely; one that does not is connected to again."""
        try:
            self._ask(what, None)
        except frame.Failure as failure:
            frame.say("after the restart: %s" % failure)
            self.supervisor.connect()
            return False
        return True


def connects(path):
    """A client of grpc would wait a second before it tried again."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
    return True


def all_run(containers, crowd):
    # Both kinds of message have an id and a status, and 1 is RUNNING.
    return {one.id for one in containers if one.status == 1} == set(crowd.containers)


def thousand(options, report, peer, tokens):
    count, samples, restarts, calm = (50, 20, 1, 3) if options.quick else (1000, 300, 3, 25)
    supervisor = peer.ground.supervisor
    with peers.Crowd(peer, tokens, "ours", 8) as crowd:
        crowd.grow(count)
        report.add(table="thousand", row="start", containers=count, per_second=count / crowd.seconds)
        all_of_them = Thousand(supervisor, crowd, report)
        time.sleep(calm)
        all_of_them.weigh("after the starts")
        all_of_them.read(samples)
        time.sleep(calm)
        all_of_them.weigh("after the reads")
        for turn in range(restarts):
            frame.say("restart %d of %d" % (turn + 1, restarts))
            for how in (signal.SIGTERM, signal.SIGKILL):
                if not report.failed("restart", how.name):
                    try:
                        all_of_them.restart(turn, how)
                    except frame.Failure as failure:
                        report.fail("restart", how.name, str(failure))
        time.sleep(calm)
        all_of_them.weigh("after a restart")
    return count


def main():
    options = frame.arguments("scale", rounds=1)
    report = frame.Report(options)
    count = 20 if options.quick else 200
    total = None
    with contextlib.ExitStack() as stack:
        ground = peers.Ground(options, stack)
        rows = frame.chosen(options, [row for row in peers.all_of(ground) if row[0] not in ("runc run", "ours: CLI")])
        tokens = frame.tokens()
        start_rates(options, report, rows, tokens, count)
        for name, peer in rows:
            if name == OURS:
                # The supervisor of the thousand has nothing behind it.
                ground.fresh()
                try:
                    total = thousand(options, report, peer, tokens)
                except frame.Failure as failure:
                    report.fail("thousand", name, str(failure))
                    frame.say("%s: %s" % (name, failure))
    report.write()
    report.heading()
    for table in WIDTHS:
        frame.print_table(
            "start of %d containers, %s (create and start, detached)" % (count, table),
            *frame.compared(report, table, rows, "per second", more_is_better=True))
    if report.failed("thousand", OURS):
        print("\nthousand containers: " + report.failures["thousand", OURS])
    elif total:
        print_thousand(report, total)
    print("all samples: %s" % report.path)
    return report.result()


def print_thousand(report, total):
    print("\n%d containers of ours: started at %.1f per second, 8 at a time" % (total, report.median("thousand", "start", "per_second")))
    lines = []
    for what, words in READS.items():
        times = report.of("reads", what, "ms")
        lines.append([words, "%.2f" % statistics.median(times), "%.2f" % min(times), "%.2f" % frame.percentile(times, 99)])
    frame.print_table("answers, %d containers; %d samples" % (total, len(times)), ["", "ms", "best", "p99"], lines)
    lines = []
    for how in ("SIGTERM", "SIGKILL"):
        if report.failed("restart", how):
            lines.append(["after " + how, report.failures["restart", how]])
            continue
        line = ["after " + how]
        for measure in ("served_ms", "adopted_ms", "asked_ms"):
            times = report.of("restart", how, measure)
            line += ["%.0f" % statistics.median(times), "%.0f" % max(times)]
        lines.append(line)
    frame.print_table("restart, %d containers" % total, ["", "ms, serves", "most", "all adopted", "most", "all asked", "most"], lines)
    rows = ["after the starts", "after the reads", "after a restart"]
    frame.print_table("memory of the supervisor, %d containers" % total, ["", "PSS KB", "private dirty", "threads"], [
        [row] + ["%.0f" % report.median("supervisor", row, measure) for measure in ("pss", "dirty", "threads")] for row in rows])
    print(
        "\nServes: from the start of the new process until it has answered a list in which all of them run. All adopted: the same, unless it says"
        "\nthat it serves before every shim has answered it. All asked: until each of the shims has said through it which processes it has.")


if __name__ == "__main__":
    frame.execute(main)
