"""Throughput of a container's stdout. See `bench.sh --help`.

Each sample is one container whose only process is `pump write`. It waits at a FIFO until the processes around it have been found and
measured, writes, and waits again until they have been measured a second time; then its sink is checked byte by byte, or counted where
it is a stream. The time is from before the first write until the last byte has arrived, whichever way it went.
"""
import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time

import frame
import peers
from frame import Failure, run, until

PATTERN = 1638400  # as in pump.c
# What is written, and where writer and reader run. A pipe is five times as fast when the scheduler puts both ends on one CPU, and it
# does that with some rows and not with others: two tables give each end a CPU of its own, the third leaves it to the scheduler.
TABLES = {
    "lines": ("lines", "apart", "lines of 100 bytes, 64 KiB a write; writer and reader on different CPUs"),
    # Text and not zeros: those would be measured as escapes in JSON.
    "block": ("block", "apart", "no newline, 64 KiB a write; writer and reader on different CPUs"),
    "lines-free": ("lines", "free", "lines of 100 bytes, 64 KiB a write; writer and reader where the scheduler likes"),
}


class Sample:
    """One container, one stream: the files it needs, the figures it gives."""

    def __init__(self, bench, table, token):
        self.bench, self.token = bench, token
        self.kind, self.place, _ = TABLES[table]
        self.sink = os.path.join(bench.sinks, token)
        self.fifo = os.path.join(bench.work, token + ".fifo")
        self.client = None
        self.daemon = None
        # Whether the writer's parent is there for the container.
        self.shim = True
        self.stack = contextlib.ExitStack()
        self._end = None

    # Either a reader of a stream or a watcher of a file tells when the bytes have arrived.

    def read_pipe(self):
        """Starts the reader; gives the descriptor for somebody's stdout."""
        theirs, ours = os.pipe()
        self._end = self._spawn([self.bench.pump, "read", str(self.bench.total), self.place], stdin=theirs, stdout=subprocess.PIPE)
        os.close(theirs)
        self.stack.callback(_close_quietly, ours)
        return ours

    def read_fifo(self):
        """Makes a FIFO and starts a reader that opens it."""
        os.mkfifo(self.fifo, 0o600)
        self._end = self._spawn(
            [self.bench.pump, "read", str(self.bench.total), self.place, self.fifo], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        return self.fifo

    def watch_file(self):
        self._end = self._spawn([self.bench.pump, "watch", self.sink, self.bench.shared], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self.sink

    def _spawn(self, command, **more):
        process = subprocess.Popen(command, **more)
        self.stack.callback(frame.end_process, process, 1.0)
        return process

    def start_client(self, command, stdout=subprocess.DEVNULL):
        """The program in whose foreground the container runs."""
        # Its complaints matter when it fails; a file never blocks it.
        errors = self.stack.enter_context(open(os.path.join(self.bench.work, "client.err"), "w+b"))
        self.client = self._spawn(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=errors)
        self.client.errors = errors
        if stdout != subprocess.DEVNULL:
            os.close(stdout)

    def client_failed(self):
        """Raises when the client has ended before its time."""
        if self.client is not None and self.client.poll() is not None:
            self.client.errors.seek(0)
            raise Failure(frame.last_line(self.client.errors.read()) or "it ended with %d" % self.client.returncode)

    def command(self, inside=True):
        pump, shared = ("/bench/pump", "/bench") if inside else (self.bench.pump, self.bench.shared)
        return [pump, "write", str(self.bench.total), self.kind, self.place, shared, self.token]

    def bundle(self):
        return self.bench.bundles.make(self.token, *self.command())

    # The measurement

    def _open_gate(self, name):
        """The writer is there when its end of the FIFO is open."""
        def attempt():
            self.client_failed()
            try:
                return os.open(os.path.join(self.bench.shared, name), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC) + 1
            except OSError:
                return 0
        return until(attempt, "the writer") - 1

    def _line(self, word, deadline, meanwhile=None):
        """The next line of the reader or watcher, which must begin with that word: (nanoseconds, bytes)."""
        end = time.monotonic() + deadline
        with selectors.DefaultSelector() as selector:
            selector.register(self._end.stdout, selectors.EVENT_READ)
            while not selector.select(0.1):
                if time.monotonic() > end:
                    raise Failure("not all bytes have arrived in %d s" % deadline)
                if meanwhile:
                    meanwhile()
        line = self._end.stdout.readline().decode().split()
        if len(line) != 3 or line[0] != word:
            raise Failure("the stream ended early: %s" % (" ".join(line) or "nothing was read"))
        return int(line[1]), int(line[2])

    def measure(self):
        gate = self._open_gate("go")
        writer = until(self._find_writer, "the writer's process")
        shim = frame.parent(writer) if self.shim else None
        # A logger is a child of the shim.
        helpers = [pid for pid in frame.children(shim) if pid != writer] if shim else []
        if self.client is not None and self.client.pid not in (shim, writer):
            helpers.append(self.client.pid)
        if self.daemon is not None:
            helpers.append(self.daemon.pid)
        idle = frame.private_dirty(shim) if shim else 0
        most = idle
        before_shim = frame.cpu_seconds(shim) if shim else 0.0
        before_helpers = [frame.cpu_seconds(pid) for pid in helpers]

        def look():
            nonlocal most
            self.client_failed()
            if shim:
                most = max(most, frame.private_dirty(shim))

        os.close(gate)
        arrived, size = self._line("full", self.bench.patience, look)
        shim_cpu = frame.cpu_seconds(shim) - before_shim if shim else 0.0
        helper_cpu = sum(frame.cpu_seconds(pid) - before for pid, before in zip(helpers, before_helpers))
        look()
        until(lambda: os.path.exists(os.path.join(self.bench.shared, "begun")), "the writer's times")
        begun = self._read_time("begun")
        os.close(self._open_gate("release"))
        self._after_full = (arrived, size)
        seconds = (arrived - begun) / 1e9
        gib = self.bench.total / (1 << 30)
        return {
            "seconds": seconds,
            "mb_per_second": self.bench.total / seconds / 1e6,
            "writer_seconds": (self._read_time("written") - begun) / 1e9,
            "shim_cpu_per_gib": shim_cpu / gib,
            "others_cpu_per_gib": helper_cpu / gib,
            "shim_dirty_idle_kb": idle,
            "shim_dirty_streaming_kb": most,
        }

    def _find_writer(self):
        for pid in frame.processes():
            words = frame.command_line(pid)
            if len(words) > 1 and words[0].endswith("pump") and words[1] == "write" and words[-1] == self.token:
                return pid
        return None

    def _read_time(self, name):
        with open(os.path.join(self.bench.shared, name), encoding="ascii") as file:
            return int(file.read())

    def finish(self, form=None):
        """After the container's end: nothing may be missing, and nothing may have come late."""
        if self._end.stdin is not None:
            self._end.stdin.close()
        _, size = self._line("end", frame.DEADLINE)
        if form is None:
            if size != self.bench.total:
                raise Failure("%d of %d bytes arrived" % (size, self.bench.total))
        elif size - self._after_full[1] > 65536:
            raise Failure("%d bytes came after a pause of 300 ms" % (size - self._after_full[1]))
        if form is not None:
            checked = subprocess.run([self.bench.pump, "check", form, self.sink, str(self.bench.total)], stdout=subprocess.PIPE)
            if checked.returncode != 0:
                raise Failure("of %d bytes: %s" % (self.bench.total, checked.stdout.decode().strip()))

    def await_client(self):
        try:
            self.client.wait(frame.DEADLINE)
        except subprocess.TimeoutExpired:
            raise Failure("the client does not end") from None

    def abandon(self):
        """After a failure: the writer must not wait at the next sample's gates."""
        writer = self._find_writer()
        if writer:
            with contextlib.suppress(ProcessLookupError):
                os.kill(writer, signal.SIGKILL)

    def close(self):
        self.stack.close()
        for path in (self.sink, self.fifo):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


def _close_quietly(descriptor):
    # start_client may have closed it already, and nobody else opens descriptors in between.
    with contextlib.suppress(OSError):
        os.close(descriptor)


class Bench:
    """Everything that the rows share."""

    def __init__(self, options, stack):
        self.work = options.directory
        self.pump = os.path.join(options.work, "pump")
        wanted = (128 << 20) if options.quick else (1 << 30)
        self.total = -(-wanted // PATTERN) * PATTERN
        self.patience = 30 if options.quick else 120

        self.rootfs = os.path.join(self.work, "rootfs")
        for name in ("bench", "dev", "etc", "proc", "run", "sys", "tmp", "var"):
            os.makedirs(os.path.join(self.rootfs, name))
        self.shared = os.path.join(self.rootfs, "bench")
        shutil.copy(self.pump, self.shared)
        for gate in ("go", "release"):
            os.mkfifo(os.path.join(self.shared, gate), 0o600)

        # A log of JSON is about 1.6 times as long as its text.
        room = self.total * 3
        with open("/proc/meminfo", encoding="ascii") as lines:
            available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
        if available < room + (512 << 20):
            sys.exit("bench: the sinks need %d MiB of free memory (try --quick)" % ((room >> 20) + 512))
        self.sinks = os.path.join(self.work, "sinks")
        os.mkdir(self.sinks)
        run("mount", "-t", "tmpfs", "-o", "size=%d,mode=0755" % room, "bench", self.sinks)
        # Lazily: a container that a failure has left behind may still write.
        stack.callback(run, "umount", "--lazy", self.sinks)
        # In a virtual machine the first touch of a page is slow: not to be paid by whoever comes first.
        touched = os.path.join(self.sinks, "touched")
        with open(touched, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, room)
        os.remove(touched)

        # containerd's protocol: stdout is descriptor 3, stderr 4, and closing 5 says that we are ready.
        loggers = os.path.join(self.work, "loggers")
        os.mkdir(loggers)
        self.logger = os.path.join(loggers, "logger")
        with open(self.logger, "w", encoding="ascii") as file:
            file.write('#!/bin/sh\n# usage: logger file PATH\nexec 5>&-\nexec cat <&3 >>"$2"\n')
        os.chmod(self.logger, 0o755)

        self.bundles = frame.Bundles(options, self.rootfs)
        self.containerd = frame.Containerd(options)
        stack.callback(self.containerd.close)
        self.supervisor = frame.Supervisor(options, *_logger_options(options, loggers))
        stack.callback(self.supervisor.close)
        self.podman = shutil.which("podman")


def _logger_options(options, directory):
    """A build from before binary:// does not know the option; its rows then say so."""
    known = run(os.path.join(options.bin, "supervisor"), "serve", "--help")
    return ["--logger-dir", directory] if "--logger-dir" in known else []


# The rows. Each starts the container, measures, and ends it; `form` is what the sink holds.

def raw(sample):
    sample.shim = False
    writer = sample.read_pipe()
    sample.start_client(sample.command(inside=False), stdout=writer)
    result = sample.measure()
    sample.await_client()
    sample.finish()
    return result


def _runc(sample, *words):
    return ["runc", "--root", os.path.join(sample.bench.work, "runc"), *words]


def _runc_detached(sample, stdout, form=None):
    """The container's process gets the descriptor itself: nothing is faster. Nobody is there for the container."""
    sample.shim = False
    sample.stack.callback(
        subprocess.run, _runc(sample, "delete", "--force", sample.token), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(os.path.join(sample.bench.work, "client.err"), "w+b") as errors:
        command = _runc(sample, "run", "--detach", "--bundle", sample.bundle(), sample.token)
        try:
            status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=errors, timeout=frame.DEADLINE).returncode
        finally:
            os.close(stdout)
        errors.seek(0)
        if status != 0:
            raise Failure(frame.last_line(errors.read()))
    result = sample.measure()
    sample.finish(form)
    return result


def runc_pipe(sample):
    return _runc_detached(sample, sample.read_pipe())


def runc_file(sample):
    return _runc_detached(sample, os.open(sample.watch_file(), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "raw")


def runc_foreground(sample):
    # It makes pipes of its own and copies.
    writer = sample.read_pipe()
    sample.start_client(_runc(sample, "run", "--bundle", sample.bundle(), sample.token), stdout=writer)
    result = sample.measure()
    sample.await_client()
    sample.finish()
    return result


def _ctr(sample, *options):
    containerd = sample.bench.containerd
    sample.daemon = containerd.process
    return containerd.ctr(
        "run", "--rm", *peers.ctr_options(containerd), *options, "--config", os.path.join(sample.bundle(), "config.json"), sample.token)


def ctr_run(sample):
    writer = sample.read_pipe()
    sample.start_client(_ctr(sample), stdout=writer)
    result = sample.measure()
    sample.await_client()
    sample.finish()
    return result


def ctr_fifo(sample):
    # A path without a scheme goes to the shim as it is: what dockerd and the CRI plugin make it do.
    fifo = sample.read_fifo()
    sample.start_client(_ctr(sample, "--log-uri", fifo))
    result = sample.measure()
    sample.await_client()
    sample.finish()
    return result


def ctr_file(sample):
    sink = sample.watch_file()
    sample.start_client(_ctr(sample, "--log-uri", "file://" + sink))
    result = sample.measure()
    sample.await_client()
    sample.finish("raw")
    return result


def ctr_binary(sample):
    sink = sample.watch_file()
    sample.start_client(_ctr(sample, "--log-uri", "binary://%s?file=%s" % (sample.bench.logger, sink)))
    result = sample.measure()
    sample.await_client()
    sample.finish("raw")
    return result


def _podman(sample, *words):
    return peers.podman(sample.bench.work, *words)


def _podman_run(sample, *options):
    if not sample.bench.podman:
        raise Failure("podman is not installed")
    return _podman(
        sample, *peers.podman_run(sample.bench.bundles.group, sample.token), *options, "--rootfs", sample.bench.rootfs, *sample.command())


def podman_run(sample):
    command = _podman_run(sample, "--log-driver", "none")
    writer = sample.read_pipe()
    sample.stack.callback(subprocess.run, _podman(sample, "rm", "--force", "--time", "0", sample.token), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sample.start_client(command, stdout=writer)
    result = sample.measure()
    sample.await_client()
    sample.finish()
    return result


def podman_file(sample):
    command = _podman_run(sample, "--detach", "--log-driver", "k8s-file", "--log-opt", "path=" + sample.sink)
    sample.watch_file()
    sample.stack.callback(subprocess.run, _podman(sample, "rm", "--force", "--time", "0", sample.token), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run(*command)
    result = sample.measure()
    run(*_podman(sample, "wait", sample.token))
    sample.finish("cri")
    return result


def ours_run(sample):
    sample.daemon = sample.bench.supervisor.process
    writer = sample.read_pipe()
    sample.start_client(sample.bench.supervisor.cli("run", "--rm", "--bundle", sample.bundle(), sample.token), stdout=writer)
    result = sample.measure()
    sample.await_client()
    sample.finish()
    return result


def _ours(sample, address, form=None):
    """Through the API: the address is what CreateContainer gets as stdout."""
    supervisor = sample.bench.supervisor
    sample.daemon = supervisor.process
    one = supervisor.messages
    supervisor.call(supervisor.execution.CreateContainer, one.CreateContainerRequest(id=sample.token, bundle_path=sample.bundle(), stdout=address))
    deleted = False
    try:
        supervisor.call(supervisor.execution.StartContainer, one.StartContainerRequest(id=sample.token))
        result = sample.measure()
        supervisor.call(supervisor.more.Wait, supervisor.more_messages.WaitRequest(container_id=sample.token))
        # A deletion waits until the shim has written everything.
        supervisor.call(supervisor.execution.DeleteContainer, one.DeleteContainerRequest(id=sample.token))
        deleted = True
        sample.finish(form)
        return result
    finally:
        if not deleted:
            with contextlib.suppress(Failure):
                supervisor.call(supervisor.execution.DeleteContainer, one.DeleteContainerRequest(id=sample.token))


def ours_fifo(sample):
    return _ours(sample, sample.read_fifo())


def ours_file(sample):
    return _ours(sample, "file://" + sample.watch_file(), "raw")


def ours_cri(sample):
    return _ours(sample, "log://" + sample.watch_file(), "cri")


def ours_json(sample):
    return _ours(sample, "log://" + sample.watch_file() + "?format=docker-json", "json")


def ours_binary(sample):
    return _ours(sample, "binary://%s?file=%s" % (sample.bench.logger, sample.watch_file()), "raw")


ROWS = [
    ("raw pipe, no container", raw),
    ("runc alone: run -d", runc_pipe),
    ("runc alone: run", runc_foreground),
    ("containerd: ctr run", ctr_run),
    ("containerd: shim to FIFO", ctr_fifo),
    ("podman: run, log none", podman_run),
    ("ours: supervisor run", ours_run),
    ("ours: FIFO", ours_fifo),
    ("runc alone: run -d >file", runc_file),
    ("containerd: file://", ctr_file),
    ("containerd: binary:// cat", ctr_binary),
    ("podman: run -d, k8s-file", podman_file),
    ("ours: file://", ours_file),
    ("ours: binary:// cat", ours_binary),
    ("ours: log:// cri", ours_cri),
    ("ours: log:// docker-json", ours_json),
]


def figures(report, table, rows_asked):
    """The rows of the printed table."""
    columns = ["", "MB/s", "best", "p99", "to raw", "to runc", "shim CPU", "others", "shim KB", "streaming"]
    first = report.median(table, ROWS[0][0], "mb_per_second")
    runc = report.median(table, ROWS[1][0], "mb_per_second")
    rows = []
    for name, _ in rows_asked:
        if report.failed(table, name):
            rows.append([name, report.failures[table, name]])
            continue
        speeds = report.of(table, name, "mb_per_second")
        middle = report.median(table, name, "mb_per_second")
        rows.append([
            name, "%.0f" % middle, "%.0f" % max(speeds),
            # The slowest of a hundred: a low percentile of the speed.
            "%.0f" % frame.percentile(speeds, 1),
            "%.2f" % (middle / first) if first else "-", "%.2f" % (middle / runc) if runc else "-",
            "%.3f" % report.median(table, name, "shim_cpu_per_gib"), "%.3f" % report.median(table, name, "others_cpu_per_gib"),
            "%.0f" % report.median(table, name, "shim_dirty_idle_kb"), "%.0f" % report.median(table, name, "shim_dirty_streaming_kb")])
    return columns, rows


def main():
    options = frame.arguments("stdio")
    report = frame.Report(options)
    asked = frame.chosen(options, ROWS)
    with contextlib.ExitStack() as stack:
        bench = Bench(options, stack)
        report.facts["bytes"] = bench.total
        tokens = frame.tokens()

        def measure(table, row):
            sample = Sample(bench, table, next(tokens))
            try:
                return row(sample)
            except Failure:
                sample.abandon()
                raise
            finally:
                sample.close()
                for left in ("begun", "written"):
                    with contextlib.suppress(FileNotFoundError):
                        os.remove(os.path.join(bench.shared, left))

        for turn in range(options.rounds):
            for table in TABLES:
                frame.say("round %d of %d, %s" % (turn + 1, options.rounds, table))
                frame.in_turn(report, table, asked, turn, lambda row, table=table: measure(table, row))
    report.write()
    report.heading()
    for table, (_, _, title) in TABLES.items():
        frame.print_table("stdout: %s; %d MiB in each sample" % (title, bench.total >> 20), *figures(report, table, asked))
    print(
        "\nMB/s: median of the rounds (1 MB = 1,000,000 bytes of text), the best, and the slowest of a hundred (with few rounds: the slowest)."
        "\nCPU: seconds per GiB of text; shim: the process that is the container's parent; others: client, logger and daemon."
        "\nKB: private dirty memory of the shim before the first byte, and the most that was seen while the bytes flowed.")
    print("all samples: %s" % report.path)
    return report.result()


if __name__ == "__main__":
    frame.execute(main)
