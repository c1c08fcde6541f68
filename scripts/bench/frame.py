"""What every part of scripts/bench.sh shares: facts about the machine, accounting of processes, statistics, tables, and the two daemons."""
import argparse
import concurrent.futures
import contextlib
import ctypes
import datetime
import itertools
import json
import math
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import threading
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


def arguments(part, rounds=5):
    """The command line that bench.sh gives to each part. From here on SIGTERM unwinds, so that what was started is ended."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, help="a directory for everything that is started")
    parser.add_argument("--bin", required=True, help="the directory of our executables")
    parser.add_argument("--out", required=True, help="the directory of the JSON files")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", required=True, help="only rows whose name contains this")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else rounds)
    options.part = part
    # For this part alone; what bench.sh has made for all of them is in `work`.
    options.directory = os.path.join(options.work, part)
    return options


def run(*command, deadline=DEADLINE, **more):
    """Runs a command to its end and returns its output; its own words when it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=deadline, **more)
    except subprocess.TimeoutExpired:
        raise Failure("%s took longer than %d s" % (os.path.basename(command[0]), deadline)) from None
    if done.returncode != 0:
        raise Failure("%s: %s" % (os.path.basename(command[0]), last_line(done.stderr) or "exit code %d" % done.returncode))
    return done.stdout.decode()


def call(*command):
    """As `run`, for commands that are measured: little of our own is around them, and their output is not wanted."""
    errors = os.memfd_create("errors")
    try:
        child = os.posix_spawnp(
            command[0], command, os.environ, setsigdef=[signal.SIGPIPE],
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, errors, 2)])
        try:
            status = collect(child)
        except Failure:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise Failure("%s took longer than %d s" % (os.path.basename(command[0]), DEADLINE)) from None
        if status != 0:
            with open(os.dup(errors), "rb") as file:
                file.seek(0)
                raise Failure("%s: %s" % (os.path.basename(command[0]), last_line(file.read()) or "exit code %d" % status))
    finally:
        os.close(errors)


def collect(child):
    """Waits for a child of ours and returns its exit code, negative for a signal."""
    if not ended(child, DEADLINE):
        raise Failure("process %d has not ended in %d s" % (child, DEADLINE))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ended(pid, patience):
    """Whether a process, anybody's, has ended or ends in that many seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(patience * 1000))
    finally:
        os.close(descriptor)


class _Adopting:
    """Whoever loses his parent while at least one thread is in here becomes our child: `runc create` leaves its init like that."""

    def __init__(self):
        self._lock = threading.Lock()
        self._inside = 0
        self._libc = ctypes.CDLL(None, use_errno=True)

    def _change(self, by):
        with self._lock:
            self._inside += by
            # PR_SET_CHILD_SUBREAPER
            if self._libc.prctl(36, int(self._inside > 0), 0, 0, 0) != 0:
                raise Failure("this process cannot become a subreaper")

    def __enter__(self):
        self._change(1)

    def __exit__(self, *_):
        self._change(-1)


adopting = _Adopting()


def tokens():
    """Ids for containers, each used once."""
    return map("b{}".format, itertools.count(1))


def milliseconds(function, *arguments):
    begin = time.perf_counter()
    function(*arguments)
    return (time.perf_counter() - begin) * 1e3


def together(function, items, width):
    """Calls it for each item, that many at a time. After a failure no more are begun."""
    with concurrent.futures.ThreadPoolExecutor(width) as pool:
        try:
            for future in [pool.submit(function, item) for item in items]:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def last_line(text):
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def execute(main):
    """The end of every part: what was not foreseen for one row fails all of it."""
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit("bench: " + str(failure))


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


def memory(pid):
    """Kilobytes by kind, as the kernel names them: Pss, Rss, Private_Dirty and others. Empty when it is gone."""
    try:
        with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as lines:
            return {words[0][:-1]: int(words[1]) for words in map(str.split, lines) if words[0].endswith(":")}
    except OSError:
        return {}


def private_dirty(pid):
    """Kilobytes that this process alone has written to."""
    return memory(pid).get("Private_Dirty", 0)


def voluntary_switches(pid):
    """How often each thread has gone to sleep: a dictionary by thread."""
    found = {}
    for thread in os.listdir("/proc/%d/task" % pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open("/proc/%d/task/%s/status" % (pid, thread), encoding="utf-8") as lines:
            found[thread] = next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))
    return found


def threads(pid):
    return len(os.listdir("/proc/%d/task" % pid))


def parent(pid):
    with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def program(pid):
    """Which file it executes, by device and inode; None when it is gone."""
    try:
        file = os.stat("/proc/%d/exe" % pid)
    except OSError:
        return None
    return file.st_dev, file.st_ino


def running(wanted):
    """All processes that execute that file."""
    return {pid for pid in processes() if program(pid) == wanted}


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

def make_rootfs(directory):
    """A root file system with busybox."""
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "var"):
        os.makedirs(os.path.join(directory, name))
    shutil.copy("/bin/busybox", os.path.join(directory, "bin"))
    for name in ("sh", "sleep", "true"):
        os.symlink("busybox", os.path.join(directory, "bin", name))
    return directory


class Bundles:
    """OCI bundles that differ in their command only: the same configuration for every runtime and daemon."""

    def __init__(self, options, rootfs):
        self._directory = os.path.join(options.directory, "bundles")
        self._rootfs = rootfs
        # Every cgroup begins with the name of the work directory, so that bench.sh can find what is left.
        self.group = "/" + os.path.basename(options.work)
        os.makedirs(self._directory)
        run("runc", "spec", "--bundle", self._directory)
        template = os.path.join(self._directory, "config.json")
        with open(template, encoding="utf-8") as file:
            self._template = file.read()
        os.remove(template)

    def path(self, name):
        return os.path.join(self._directory, name)

    def make(self, name, *command):
        spec = json.loads(self._template)
        spec["process"]["terminal"] = False
        spec["process"]["args"] = list(command)
        spec["root"] = {"path": self._rootfs, "readonly": False}
        spec["linux"]["cgroupsPath"] = self.group + "/" + name
        bundle = self.path(name)
        os.mkdir(bundle)
        with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump(spec, file)
        return bundle


def import_generated(options):
    """What protoc has made for bench.sh can be imported from here on. A part without an API needs none of it."""
    generated = os.path.join(options.work, "generated")
    if generated not in sys.path:
        sys.path.insert(0, generated)


class _Daemon:
    """A child of ours with everything of its own under one directory."""

    def __init__(self, directory, what, command, socket, ask, environment=None):
        self.directory, self.socket = directory, socket
        self._what, self._command, self._ask, self._environment = what, command, ask, environment
        self._log = open(os.path.join(directory, "log"), "ab")
        self.process = None
        try:
            self.start()
            until(self.answers, what)
        except Failure:
            self.close()
            raise

    def start(self):
        self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=self._environment)

    def answers(self):
        if self.process.poll() is not None:
            raise Failure("%s ended: %s" % (self._what, self.log().rpartition("\n")[2]))
        return os.path.exists(self.socket) and subprocess.run(
            self._ask, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=DEADLINE).returncode == 0

    def log(self):
        """What it has said until now, without the last line feed."""
        with open(self._log.name, encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")

    def call(self, method, request, **more):
        """One RPC. Only its failure is a reason to look at what grpc is."""
        try:
            return method(request, timeout=DEADLINE, **more)
        except Exception as error:
            if not hasattr(error, "details"):
                raise
            raise Failure("%s: %s" % (error.code().name, error.details())) from None

    def close(self):
        if self.process:
            end_process(self.process)
        self._log.close()


class Containerd(_Daemon):
    """Debian's containerd. No CRI, no TCP."""

    def __init__(self, options, name="containerd"):
        directory = os.path.join(options.directory, name)
        os.mkdir(directory)
        # Ours has its containers' state where containerd's default is, below the namespace: one that nobody else has.
        self.namespace = os.path.basename(options.work)
        socket = os.path.join(directory, "sock")
        config = os.path.join(directory, "config.toml")
        with open(config, "w", encoding="ascii") as file:
            file.write(
                'version = 2\nroot = "%(d)s/root"\nstate = "%(d)s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                '[grpc]\naddress = "%(s)s"\n[debug]\naddress = ""\n[metrics]\naddress = ""\n' % {"d": directory, "s": socket})
        self._ctr = ["ctr", "--address", socket, "--namespace", self.namespace]
        # It finds shims in its path.
        path = dict(os.environ, PATH=options.bin + ":" + os.environ["PATH"])
        super().__init__(directory, "containerd", ["containerd", "--config", config], socket, self.ctr("version"), path)

    def ctr(self, *words):
        return [*self._ctr, *words]

    def close(self):
        super().close()
        for left in ("/run/containerd/runc/" + self.namespace, "/run/containerd/runc"):
            with contextlib.suppress(OSError):
                os.rmdir(left)


class Supervisor(_Daemon):
    """Ours."""

    def __init__(self, options, *more, name="supervisor"):
        directory = os.path.join(options.directory, name)
        os.mkdir(directory)
        self.executable = os.path.join(options.bin, "supervisor")
        root = os.path.join(directory, "root")
        self.socket = os.path.join(root, "supervisor.sock")
        command = [self.executable, "serve", "--root", root, "--runtime-root", os.path.join(directory, "runc"), *more]
        super().__init__(directory, "the supervisor", command, self.socket, self.cli("version"))
        import_generated(options)
        self.connect()

    def connect(self):
        import grpc
        from containerd.v1 import execution_pb2, execution_pb2_grpc, supervisor_pb2, supervisor_pb2_grpc
        # Each its own connection: grpc shares one with whoever has the same address and options, also the pause after a failure.
        channel = grpc.insecure_channel("unix:" + self.socket, [("grpc.use_local_subchannel_pool", 1)])
        self.messages, self.more_messages = execution_pb2, supervisor_pb2
        self.execution = execution_pb2_grpc.ExecutionServiceStub(channel)
        self.more = supervisor_pb2_grpc.SupervisorServiceStub(channel)

    def cli(self, verb, *words):
        return [self.executable, verb, "--socket", self.socket, *words]


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

    def __init__(self, options):
        part = self.part = options.part
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

    def result(self):
        """The exit code of the part. A missing podman is no failure."""
        return 1 if any(not reason.startswith("podman is not") for reason in self.failures.values()) else 0

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


# Rows, as pairs of a name and whatever stands for it

def chosen(options, rows):
    """Those that --only asks for."""
    found = [row for row in rows if options.only in row[0]]
    if not found:
        sys.exit("bench: no row of %s has '%s' in its name; there is: %s" % (options.part, options.only, ", ".join(row[0] for row in rows)))
    return found


def in_turn(report, table, rows, turn, measure):
    """A sample of each row, which is a dictionary of figures. A row that has failed is not tried again."""
    # Each turn begins with another row, so that no row always follows the same one.
    first = turn % len(rows)
    for name, row in rows[first:] + rows[:first]:
        if report.failed(table, name):
            continue
        try:
            report.add(table=table, row=name, round=turn, load=load(), **measure(row))
        except Failure as failure:
            report.fail(table, name, str(failure))
            say("%s: %s" % (name, failure))


def compared(report, table, rows, measure, form="%.1f", more_is_better=False):
    """Columns and rows for print_table: median, best, p99, the ratio to the first of all rows, and to the row that `against` names."""
    columns = ["", measure, "best", "p99", "to runc", "to Go shim"]
    floor = report.median(table, FLOOR, measure)
    lines = []
    for name, row in rows:
        if report.failed(table, name):
            lines.append([name, report.failures[table, name]])
            continue
        values = report.of(table, name, measure)
        middle = report.median(table, name, measure)
        other = report.median(table, row.against, measure) if row.against else None
        lines.append([
            name, form % middle, form % (max if more_is_better else min)(values), form % percentile(values, 1 if more_is_better else 99),
            "%.2f" % (middle / floor) if floor else "-", "%.2f" % (middle / other) if other else "-"])
    return columns, lines


FLOOR = "runc by hand"
