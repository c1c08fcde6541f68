"""What every part of scripts/bench.sh shares: facts about the machine, accounting of processes, statistics, tables, and the two daemons."""
import argparse
import contextlib
import datetime
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time

DEADLINE = 60.0


class Failure(Exception):
    """Why a sample or a whole row could not be measured, in words for the table."""


def say(text):
    """Progress goes to stderr: stdout is the report."""
    print("bench: " + text, file=sys.stderr, flush=True)


def until(condition, what, deadline=DEADLINE, pause=0.005):
    """Polls until the condition gives something true, and returns that."""
    end = time.monotonic() + deadline
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Failure("waited %d s for %s" % (deadline, what))
        time.sleep(pause)


def arguments():
    """The command line that bench.sh gives to each part. From here on SIGTERM unwinds, so that what was started is ended."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, help="a directory for everything that is started")
    parser.add_argument("--bin", required=True, help="the directory of our executables")
    parser.add_argument("--out", required=True, help="the directory of the JSON files")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--only", required=True, help="only rows whose name contains this")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def run(*command, deadline=DEADLINE, **more):
    """Runs a command to its end and returns its output; its own words when it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=deadline, **more)
    except subprocess.TimeoutExpired:
        raise Failure("%s took longer than %d s" % (os.path.basename(command[0]), deadline)) from None
    if done.returncode != 0:
        raise Failure("%s: %s" % (os.path.basename(command[0]), last_line(done.stderr) or "exit code %d" % done.returncode))
    return done.stdout.decode()


def last_line(text):
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def end_process(process, patience=10.0):
    """SIGTERM, then SIGKILL, for a child of ours."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# Processes, from /proc

def cpu_seconds(pid):
    """CPU time of a whole process, ended threads included, by its own CPU clock: exact where /proc/PID/stat counts ticks. 0 when it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def private_dirty(pid):
    """Kilobytes that this process alone has written to."""
    try:
        with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))
    except (OSError, StopIteration):
        return 0


def parent(pid):
    with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid):
    found = []
    for other in processes():
        with contextlib.suppress(OSError):
            if parent(other) == pid:
                found.append(other)
    return found


def command_line(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


# Containers

class Bundles:
    """OCI bundles that differ in their command only: the same configuration for every runtime and daemon."""

    def __init__(self, work, rootfs):
        self._directory = os.path.join(work, "bundles")
        self._rootfs = rootfs
        # Every cgroup begins with the name of the work directory, so that bench.sh can find what is left.
        self._group = "/" + os.path.basename(work)
        os.makedirs(self._directory)
        run("runc", "spec", "--bundle", self._directory)
        template = os.path.join(self._directory, "config.json")
        with open(template, encoding="utf-8") as file:
            self._template = file.read()
        os.remove(template)

    def make(self, name, *command):
        spec = json.loads(self._template)
        spec["process"]["terminal"] = False
        spec["process"]["args"] = list(command)
        spec["root"] = {"path": self._rootfs, "readonly": False}
        spec["linux"]["cgroupsPath"] = self._group + "/" + name
        bundle = os.path.join(self._directory, name)
        os.mkdir(bundle)
        with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump(spec, file)
        return bundle


class Containerd:
    """Debian's containerd with everything of its own under one directory. No CRI, no TCP."""

    def __init__(self, work):
        self.directory = os.path.join(work, "containerd")
        os.mkdir(self.directory)
        self.socket = os.path.join(self.directory, "sock")
        config = os.path.join(self.directory, "config.toml")
        with open(config, "w", encoding="ascii") as file:
            file.write(
                'version = 2\nroot = "%(d)s/root"\nstate = "%(d)s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                '[grpc]\naddress = "%(s)s"\n[debug]\naddress = ""\n[metrics]\naddress = ""\n' % {"d": self.directory, "s": self.socket})
        self._log = open(os.path.join(self.directory, "log"), "wb")
        self.process = subprocess.Popen(["containerd", "--config", config], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        try:
            until(lambda: self._answers(), "containerd")
        except Failure:
            self.close()
            raise

    def _answers(self):
        if self.process.poll() is not None:
            raise Failure("containerd ended: see its log")
        return os.path.exists(self.socket) and subprocess.run(
            self.ctr("version"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def ctr(self, *words):
        return ["ctr", "--address", self.socket, "--namespace", "bench", *words]

    def close(self):
        end_process(self.process)
        self._log.close()


class Supervisor:
    """Ours, with everything of its own under one directory."""

    def __init__(self, work, binaries, *options):
        self.directory = os.path.join(work, "supervisor")
        os.mkdir(self.directory)
        self.executable = os.path.join(binaries, "supervisor")
        self.socket = os.path.join(self.directory, "root", "supervisor.sock")
        self._log = open(os.path.join(self.directory, "log"), "wb")
        self.process = subprocess.Popen(
            [self.executable, "serve", "--root", os.path.join(self.directory, "root"), "--runtime-root", os.path.join(self.directory, "runc"), *options],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        try:
            until(lambda: self._answers(), "the supervisor")
        except Failure:
            self.close()
            raise
        # Generated by bench.sh; imported here so that a part without an API needs none of it.
        sys.path.insert(0, os.path.join(work, "generated"))
        import grpc
        from containerd.v1 import execution_pb2, execution_pb2_grpc, supervisor_pb2, supervisor_pb2_grpc
        channel = grpc.insecure_channel("unix:" + self.socket)
        self.grpc, self.messages, self.more_messages = grpc, execution_pb2, supervisor_pb2
        self.execution = execution_pb2_grpc.ExecutionServiceStub(channel)
        self.more = supervisor_pb2_grpc.SupervisorServiceStub(channel)

    def _answers(self):
        if self.process.poll() is not None:
            raise Failure("the supervisor ended: see its log")
        return os.path.exists(self.socket) and subprocess.run(
            self.cli("version"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def cli(self, verb, *words):
        return [self.executable, verb, "--socket", self.socket, *words]

    def call(self, method, request):
        try:
            return method(request, timeout=DEADLINE)
        except self.grpc.RpcError as error:
            raise Failure("%s: %s" % (error.code().name, error.details())) from None

    def close(self):
        end_process(self.process)
        self._log.close()


# Figures

def percentile(values, percent):
    """By nearest rank: one of the values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def version_of(*command):
    """The first line that a program says about itself; None when it is not there."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.decode(errors="replace").splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def load():
    with open("/proc/loadavg", encoding="ascii") as file:
        return " ".join(file.read().split()[:3])


class Report:
    """All samples of one part: as JSON for machines, as tables for people."""

    def __init__(self, part, options):
        self.part = part
        # A few rows alone do not take the place of all.
        self.path = os.path.join(options.out, part + ("-only" if options.only else "") + ".json")
        self.facts = {
            "part": part,
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "kernel": " ".join(os.uname()[i] for i in (0, 2, 4)),
            "cpus": os.cpu_count(),
            "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
            "load_at_begin": load(),
            "rounds": options.rounds,
            "quick": options.quick,
            "versions": {
                "ours": version_of(os.path.join(options.bin, "supervisor"), "--version"),
                "runc": version_of("runc", "--version"),
                "containerd": version_of("containerd", "--version"),
                "podman": version_of("podman", "--version"),
                "conmon": version_of("conmon", "--version"),
            },
        }
        self.samples = []
        self.failures = {}

    def add(self, **sample):
        self.samples.append(sample)

    def fail(self, table, row, reason):
        self.failures[table, row] = reason

    def failed(self, table, row):
        return (table, row) in self.failures

    def of(self, table, row, measure):
        return [sample[measure] for sample in self.samples if sample["table"] == table and sample["row"] == row]

    def median(self, table, row, measure):
        values = self.of(table, row, measure)
        return statistics.median(values) if values else None

    def heading(self):
        facts = self.facts
        facts["load_at_end"] = load()
        print("%s, %s" % (self.part, facts["date"]))
        print("%s, %d CPUs, %d MiB; load %s at the beginning, %s at the end; %d rounds, interleaved%s" % (
            facts["kernel"], facts["cpus"], facts["memory_mib"], facts["load_at_begin"], facts["load_at_end"], facts["rounds"],
            ", quick" if facts["quick"] else ""))
        for name, version in facts["versions"].items():
            print("%s: %s" % (name, version or "not installed"))

    def write(self):
        """The JSON file, replaced at once."""
        self.facts["samples"] = self.samples
        self.facts["failures"] = [{"table": t, "row": r, "reason": reason} for (t, r), reason in self.failures.items()]
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.facts, file, indent=1)
            file.write("\n")
        os.replace(self.path + ".new", self.path)


def print_table(title, columns, rows):
    """Rows of text: the first column to the left, the others to the right. A row that is shorter than the columns ends with free text."""
    print("\n" + title)
    whole = [columns] + [row for row in rows if len(row) == len(columns)]
    widths = [max(len(row[i]) for row in whole) for i in range(len(columns))]
    widths[0] = max(widths[0], *(len(row[0]) for row in rows))
    for row in [columns] + rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])] if len(row) == len(columns) else list(row[1:])
        print("  ".join(cells).rstrip())
