"""The ways to run containers that are compared: one class each, all with the same verbs, and the same configuration for all that take one.

What they run is `true` (to its end) or `sleep` (detached); where they run it detached, its streams are /dev/null for everybody. A verb
raises Failure unless the container did what it should: `true` must have exited with 0.
"""
import contextlib
import functools
import json
import os
import shutil
import signal
import time

import frame
from frame import Failure, call, until

TRUE = ("/bin/true",)
SLEEP = ("/bin/sleep", "86400")
GO_SHIM, OUR_SHIM = "io.containerd.runc.v2", "io.containerd.runc.v2-cs"


class Laps:
    """How long each step of something takes, in milliseconds."""

    def __init__(self):
        self.ms = {}
        self._last = time.perf_counter()

    def end(self, step):
        now = time.perf_counter()
        self.ms[step] = (now - self._last) * 1e3
        self._last = now


class Ground:
    """A root file system, bundles, and the daemons that are asked for; `stack` ends them."""

    def __init__(self, options, stack):
        self.options, self._stack = options, stack
        self.directory = options.directory
        self.rootfs = frame.make_rootfs(os.path.join(self.directory, "rootfs"))
        self.bundles = frame.Bundles(options, self.rootfs)

    def _open(self, daemon):
        self._stack.callback(daemon.close)
        return daemon

    @functools.cached_property
    def containerd(self):
        return self._open(frame.Containerd(self.options))

    @functools.cached_property
    def api(self):
        return ContainerdClient(self.containerd, self.options)

    @functools.cached_property
    def supervisor(self):
        return self._open(frame.Supervisor(self.options))

    def fresh(self):
        """Other daemons from now on: what these have been through is no longer measured."""
        for name in ("supervisor", "api", "containerd"):
            daemon = self.__dict__.pop(name, None)
            if isinstance(daemon, (frame.Containerd, frame.Supervisor)):
                daemon.close()
                shutil.rmtree(daemon.directory)


def check_status(status):
    # That of an end of which nothing is known is 255 with all of them.
    if status != 0:
        raise Failure("true has ended with %d" % status)


class Peer:
    """One way. Tokens are ids of containers."""

    # What the parent of a container's init is called; empty: nobody is there for it.
    shim = ""
    # The row under containerd that the Go shim has, for ours.
    against = None

    def __init__(self, ground):
        self.ground = ground

    def check(self):
        """Raises when this way does not exist here."""

    def daemon(self):
        """The process that all of its containers share, or None."""
        return None

    def prepare(self, token, command):
        """What a caller has done before he asks for a container."""
        self.ground.bundles.make(token, *command)

    def lifecycle(self, token):
        """Create, start, wait for the end, delete. Gives the milliseconds of each where they are separate calls."""
        raise NotImplementedError

    def start(self, token):
        """Create and start."""
        raise NotImplementedError

    def init(self, token):
        """The pid of the container's first process."""
        raise NotImplementedError

    def exec(self, token, name):
        """Runs `true` in there, to its end."""
        raise NotImplementedError

    def forget(self, token, name):
        """Whatever is left to be done after an exec, outside of the measurement."""

    def remove(self, token):
        """Ends and deletes it, whatever state it is in."""
        raise NotImplementedError

    def settle(self):
        """Waits for what goes on after a verb has returned, so that the next one does not pay for it."""
        time.sleep(0.05)

    def _bundle(self, token):
        return self.ground.bundles.path(token)

    # Made of the verbs above

    def find_shim(self, token):
        pid = frame.parent(self.init(token))
        words = frame.command_line(pid)
        if not words or os.path.basename(words[0]) != self.shim:
            raise Failure("the parent of the container's init is '%s' and not %s" % (" ".join(words), self.shim))
        return pid

    def check_running(self, token):
        """That it runs what it should: with most, a start returns while `runc init` is about to execute it."""
        pid = self.init(token)
        until(lambda: frame.command_line(pid) == list(SLEEP), "process %d to execute %s" % (pid, " ".join(SLEEP)), 10.0)


class Crowd:
    """Containers of one peer that sleep. When it is left all of them are ended."""

    def __init__(self, peer, tokens, name, width=4):
        self.peer, self.containers = peer, []
        self._width = width
        # How long the last growth took, without bundles and checks.
        self.seconds = None
        self._tokens, self._name = tokens, name
        # Begun before anybody can enter us, so that it is there when we are left.
        peer.daemon()

    def grow(self, count):
        """Until there are that many; gives the new ones."""
        wanted = [next(self._tokens) for _ in range(count - len(self.containers))]
        frame.say("%s: %d container%s" % (self._name, count, "s"[:count > 1]))
        for token in wanted:
            self.peer.prepare(token, SLEEP)
        # Before they are there: whatever is left of them is to be removed.
        self.containers += wanted
        self.seconds = frame.milliseconds(frame.together, self.peer.start, wanted, self._width) / 1e3
        for token in wanted:
            self.peer.check_running(token)
        return wanted

    def find_shims(self):
        """One for each container, or else it is not what is to be measured."""
        shims = list(map(self.peer.find_shim, self.containers))
        if len(set(shims)) != len(shims):
            raise Failure("%d containers have %d shims" % (len(shims), len(set(shims))))
        return shims

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            frame.together(self.peer.remove, self.containers, 8)
        except Failure as failure:
            # The first reason is the one to be told; bench.sh ends what is left.
            if kind is None:
                raise
            frame.say("%s: and then: %s" % (self._name, failure))


class Runc(Peer):
    """The four verbs: nobody is there for the container but whoever calls them, as its parent."""

    def __init__(self, ground):
        super().__init__(ground)
        self._pids = {}

    def _runc(self, *words):
        call("runc", "--root", os.path.join(self.ground.directory, "runc"), *words)

    def _create(self, token):
        file = os.path.join(self.ground.directory, token + ".pid")
        with frame.adopting:
            self._runc("create", "--bundle", self._bundle(token), "--pid-file", file, token)
        with open(file, encoding="ascii") as text:
            self._pids[token] = int(text.read())
        os.remove(file)
        return self._pids[token]

    def lifecycle(self, token):
        laps = Laps()
        pid = self._create(token)
        laps.end("create")
        self._runc("start", token)
        laps.end("start")
        status = frame.collect(pid)
        laps.end("wait")
        self._runc("delete", token)
        laps.end("delete")
        del self._pids[token]
        check_status(status)
        return laps.ms

    def start(self, token):
        self._create(token)
        self._runc("start", token)

    def init(self, token):
        return self._pids[token]

    def exec(self, token, name):
        self._runc("exec", token, *TRUE)

    def remove(self, token):
        if token not in self._pids:
            return
        with contextlib.suppress(Failure):
            self._runc("kill", token, "KILL")
        with contextlib.suppress(ChildProcessError):
            frame.collect(self._pids.pop(token))
        self._runc("delete", "--force", token)


class RuncRun(Runc):
    """`runc run`, which stays there until the end."""

    def lifecycle(self, token):
        self._runc("run", "--bundle", self._bundle(token), token)


class ContainerdClient:
    """containerd's API, as a Go client or a kubelet uses it."""

    SPEC = "types.containerd.io/opencontainers/runtime-spec/1/"

    def __init__(self, containerd, options):
        frame.import_generated(options)
        import grpc
        import peer_pb2
        from containerd.runc.v1 import options_pb2
        from google.protobuf import any_pb2
        self._containerd, self._any, self._options = containerd, any_pb2.Any, options_pb2.Options
        self.messages = peer_pb2
        self._channel = grpc.insecure_channel("unix:" + containerd.socket, [("grpc.use_local_subchannel_pool", 1)])
        self._methods = {}

    def call(self, method, request, answer=None):
        if method not in self._methods:
            self._methods[method] = self._channel.unary_unary(
                "/containerd.services." + method, type(request).SerializeToString, (answer or self.messages.Ignored).FromString)
        return self._containerd.call(self._methods[method], request, metadata=[("containerd-namespace", self._containerd.namespace)])

    def spec(self, kind, value):
        return self._any(type_url=self.SPEC + kind, value=json.dumps(value).encode())

    def runc_options(self):
        options = self._options(root=self._containerd.directory + "/runc")
        return self._any(type_url="containerd.runc.v1.Options", value=options.SerializeToString())

    def get(self, token):
        return self.call("tasks.v1.Tasks/Get", self.messages.One(container_id=token), self.messages.Got).process

    def wait(self, token, name=""):
        return self.call("tasks.v1.Tasks/Wait", self.messages.One(container_id=token, exec_id=name), self.messages.Waited).exit_status

    def remove(self, token):
        """Whatever is left of it."""
        one = self.messages
        with contextlib.suppress(Failure):
            self.call("tasks.v1.Tasks/Kill", one.Kill(container_id=token, signal=signal.SIGKILL))
            self.wait(token)
        for method, request in (
                ("tasks.v1.Tasks/Delete", one.One(container_id=token)), ("containers.v1.Containers/Delete", one.DeleteContainer(id=token))):
            try:
                self.call(method, request)
            except Failure as failure:
                if not str(failure).startswith("NOT_FOUND"):
                    raise


class UnderContainerd(Peer):
    """containerd with one of the two shims."""

    def __init__(self, ground, runtime):
        super().__init__(ground)
        self.runtime = runtime
        self.shim = "containerd-shim-runc-" + ("v2" if runtime == GO_SHIM else "v2-cs")

    def daemon(self):
        return self.ground.containerd.process

    def init(self, token):
        return self.ground.api.get(token).pid

    def state(self, token):
        """Asks the shim."""
        if self.ground.api.get(token).status != 2:
            raise Failure("the container does not run any more")

    def remove(self, token):
        self.ground.api.remove(token)


class Ctr(UnderContainerd):
    def _run(self, token, *options):
        call(*self.ground.containerd.ctr(
            "run", *ctr_options(self.ground.containerd), "--runtime", self.runtime, *options,
            "--config", os.path.join(self._bundle(token), "config.json"), token))

    def lifecycle(self, token):
        self._run(token, "--rm")

    def start(self, token):
        self._run(token, "--detach", "--null-io")

    def exec(self, token, name):
        call(*self.ground.containerd.ctr("task", "exec", "--fifo-dir", self.ground.containerd.directory + "/fifos", "--exec-id", name, token, *TRUE))


class ContainerdApi(UnderContainerd):
    def __init__(self, ground, runtime):
        super().__init__(ground, runtime)
        self._specs = {}

    def prepare(self, token, command):
        with open(os.path.join(self.ground.bundles.make(token, *command), "config.json"), encoding="utf-8") as file:
            self._specs[token] = json.load(file)

    def _create(self, token):
        api, one = self.ground.api, self.ground.api.messages
        runtime = one.Container.Runtime(name=self.runtime, options=api.runc_options())
        api.call("containers.v1.Containers/Create", one.CreateContainer(
            container=one.Container(id=token, runtime=runtime, spec=api.spec("Spec", self._specs[token]))))
        api.call("tasks.v1.Tasks/Create", one.CreateTask(container_id=token))

    def start(self, token):
        self._create(token)
        self.ground.api.call("tasks.v1.Tasks/Start", self.ground.api.messages.One(container_id=token))

    def lifecycle(self, token):
        api, one = self.ground.api, self.ground.api.messages
        laps = Laps()
        self._create(token)
        laps.end("create")
        api.call("tasks.v1.Tasks/Start", one.One(container_id=token))
        laps.end("start")
        status = api.wait(token)
        laps.end("wait")
        api.call("tasks.v1.Tasks/Delete", one.One(container_id=token))
        api.call("containers.v1.Containers/Delete", one.DeleteContainer(id=token))
        laps.end("delete")
        check_status(status)
        return laps.ms

    def exec(self, token, name):
        api, one = self.ground.api, self.ground.api.messages
        process = dict(self._specs[token]["process"], args=list(TRUE))
        api.call("tasks.v1.Tasks/Exec", one.ExecProcess(container_id=token, exec_id=name, spec=api.spec("Process", process)))
        api.call("tasks.v1.Tasks/Start", one.One(container_id=token, exec_id=name))
        check_status(api.wait(token, name))

    def forget(self, token, name):
        self.ground.api.call("tasks.v1.Tasks/DeleteProcess", self.ground.api.messages.One(container_id=token, exec_id=name))


class Podman(Peer):
    shim = "conmon"

    def check(self):
        if not shutil.which("podman"):
            raise Failure("podman is not installed")

    def prepare(self, token, command):
        self.check()

    def _podman(self, *words):
        return podman(self.ground.directory, *words)

    def _run(self, token, *options, command):
        self.check()
        call(*self._podman(*podman_run(self.ground.bundles.group, token), "--log-driver", "none", *options, "--rootfs", self.ground.rootfs, *command))

    def lifecycle(self, token):
        self._run(token, "--rm", command=TRUE)

    def _pid_file(self, token):
        return os.path.join(self.ground.directory, token + ".pid")

    def start(self, token):
        self._run(token, "--detach", "--pidfile", self._pid_file(token), command=SLEEP)

    def init(self, token):
        with open(self._pid_file(token), encoding="ascii") as file:
            return int(file.read())

    def exec(self, token, name):
        call(*self._podman("exec", token, *TRUE))

    def remove(self, token):
        if shutil.which("podman"):
            call(*self._podman("rm", "--force", "--ignore", "--time", "0", token))

    def settle(self):
        """The last act of a conmon is a podman that cleans up."""
        super().settle()
        until(lambda: not any(map(self._cleans_up, frame.processes())), "podman's cleanup")

    def _cleans_up(self, pid):
        words = frame.command_line(pid)
        return bool(words) and os.path.basename(words[0]) == "podman" and "cleanup" in words and any(self.ground.directory in word for word in words)


class Ours(Peer):
    """The supervisor's verbs, one shim for each container."""

    shim = "shim"

    def daemon(self):
        return self.ground.supervisor.process

    def init(self, token):
        supervisor = self.ground.supervisor
        request = supervisor.more_messages.InspectRequest(container_ids=[token], no_processes=True)
        return supervisor.call(supervisor.more.Inspect, request).containers[0].pid

    def remove(self, token):
        supervisor = self.ground.supervisor
        with contextlib.suppress(Failure):
            supervisor.call(supervisor.more.Kill, supervisor.more_messages.KillRequest(container_id=token, signal=signal.SIGKILL))
            self._wait(token)
        try:
            self._delete(token)
        except Failure as failure:
            if not str(failure).startswith("NOT_FOUND"):
                raise

    def _wait(self, token, pid=0):
        supervisor = self.ground.supervisor
        return supervisor.call(supervisor.more.Wait, supervisor.more_messages.WaitRequest(container_id=token, pid=pid)).exit

    def _delete(self, token):
        supervisor = self.ground.supervisor
        supervisor.call(supervisor.execution.DeleteContainer, supervisor.messages.DeleteContainerRequest(id=token))


class OursApi(Ours):
    def __init__(self, ground):
        super().__init__(ground)
        self._pids = {}

    def _create(self, token):
        supervisor = self.ground.supervisor
        request = supervisor.messages.CreateContainerRequest(id=token, bundle_path=self._bundle(token))
        supervisor.call(supervisor.execution.CreateContainer, request)

    def _start(self, token):
        supervisor = self.ground.supervisor
        supervisor.call(supervisor.execution.StartContainer, supervisor.messages.StartContainerRequest(id=token))

    def start(self, token):
        self._create(token)
        self._start(token)

    def lifecycle(self, token):
        laps = Laps()
        self._create(token)
        laps.end("create")
        self._start(token)
        laps.end("start")
        ended = self._wait(token)
        laps.end("wait")
        self._delete(token)
        laps.end("delete")
        check_status(ended.status)
        return laps.ms

    def exec(self, token, name):
        supervisor, one = self.ground.supervisor, self.ground.supervisor.messages
        request = one.StartProcessRequest(container_id=token, process=one.Process(args=TRUE, cwd="/"))
        pid = supervisor.call(supervisor.execution.StartProcess, request).process.pid
        ended = self._wait(token, pid)
        self._pids[name] = pid
        check_status(ended.status)

    def forget(self, token, name):
        supervisor = self.ground.supervisor
        request = supervisor.messages.DeleteProcessRequest(container_id=token, pid=self._pids.pop(name))
        supervisor.call(supervisor.execution.DeleteProcess, request)

    def state(self, token):
        """Asks the shim: what the supervisor knows itself is no work for it."""
        supervisor = self.ground.supervisor
        answer = supervisor.call(supervisor.execution.ListProcesses, supervisor.messages.ListProcessesRequest(container_id=token))
        if not answer.processes:
            raise Failure("the container does not run any more")


class OursCli(Ours):
    def lifecycle(self, token):
        call(*self.ground.supervisor.cli("run", "--rm", "--bundle", self._bundle(token), token))

    def start(self, token):
        call(*self.ground.supervisor.cli("run", "--detach", "--log", "none", "--bundle", self._bundle(token), token))

    def exec(self, token, name):
        call(*self.ground.supervisor.cli("exec", token, *TRUE))


# Shared with stdio.py

def ctr_options(containerd):
    """What `ctr run` must be told so that it leaves nothing elsewhere. It ignores the first for runtimes that it does not know."""
    return ["--runc-root", containerd.directory + "/runc", "--fifo-dir", containerd.directory + "/fifos"]


def podman(directory, *words):
    directory = os.path.join(directory, "podman")
    return [
        "podman", "--root", directory + "/root", "--runroot", directory + "/run", "--tmpdir", directory + "/tmp", "--storage-driver", "vfs",
        "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none", *words]


def podman_run(group, token):
    # Its default limits are more than root may give away on some machines; one process needs little.
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--cgroups", "no-conmon"]
    return ["run", "--name", token, "--network", "none", *limits, "--security-opt", "seccomp=unconfined", "--cgroup-parent", group]


def all_of(ground):
    """Every way, the floor first."""
    rows = [
        (frame.FLOOR, Runc(ground)),
        ("runc run", RuncRun(ground)),
        ("ctr, Go shim", Ctr(ground, GO_SHIM)),
        ("ctr, ours", Ctr(ground, OUR_SHIM)),
        ("containerd API, Go shim", ContainerdApi(ground, GO_SHIM)),
        ("containerd API, ours", ContainerdApi(ground, OUR_SHIM)),
        ("podman", Podman(ground)),
        ("ours: gRPC", OursApi(ground)),
        ("ours: CLI", OursCli(ground)),
    ]
    for name, peer in rows:
        if name.endswith(", ours"):
            peer.against = name[:-len("ours")] + "Go shim"
    return rows


def with_shims(ground):
    """The four kinds of shim, as many containers as are wanted."""
    return [
        ("containerd, Go shim", ContainerdApi(ground, GO_SHIM)),
        ("podman, conmon", Podman(ground)),
        ("ours, under containerd", ContainerdApi(ground, OUR_SHIM)),
        ("ours, supervised", OursApi(ground)),
    ]
