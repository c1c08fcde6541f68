"""Calls all thirteen RPCs of containerd.v1.ExecutionService with a client that protoc and Python's gRPC generated from the proto.

usage: client.py DIRECTORY_WITH_GENERATED_CODE SOCKET BUNDLE OTHER_BUNDLE OUTPUT_FILE

Prints one line per RPC and ends with 0 when every answer was as expected.
"""
import sys
import time

sys.path.insert(0, sys.argv[1])

import grpc  # noqa: E402
from containerd.v1 import execution_pb2 as pb  # noqa: E402
from containerd.v1 import execution_pb2_grpc as rpc  # noqa: E402

socket, bundle, other_bundle, output_file = sys.argv[2:6]
stub = rpc.ExecutionServiceStub(grpc.insecure_channel("unix:" + socket))
called = set()


def call(name, request):
    """One RPC with a deadline; remembers that it was called."""
    response = getattr(stub, name)(request, timeout=30)
    called.add(name)
    print(name, "ok", flush=True)
    return response


def expect(condition, what):
    if not condition:
        sys.exit("not as expected: " + what)


def refused(name, request, code):
    try:
        getattr(stub, name)(request, timeout=30)
    except grpc.RpcError as error:
        expect(error.code() == code and error.details(), "%s: %s %s" % (name, error.code(), error.details()))
        return
    sys.exit(name + " was not refused")


def until(condition, what):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    sys.exit("did not happen: " + what)


created = call("CreateContainer", pb.CreateContainerRequest(id="snake", bundle_path=bundle, stdout=output_file))
init = created.initProcess.pid
expect(created.container.id == "snake" and created.container.bundle == bundle, "the created container")
expect(created.container.status == pb.CREATED and init > 1, "state and pid of the created container")
expect(list(created.initProcess.args)[:1] == ["sh"], "arguments of init")

call("StartContainer", pb.StartContainerRequest(id="snake"))
expect(call("GetContainer", pb.GetContainerRequest(id="snake")).container.status == pb.RUNNING, "running after start")
listed = call("ListContainers", pb.ListContainersRequest(owner=["python"])).containers
expect([c.id for c in listed] == ["snake"], "listed by owner")
expect(not stub.ListContainers(pb.ListContainersRequest(owner=["perl"])).containers, "not listed by another owner")

process = pb.Process(args=["sh", "-c", "sleep 1000"], env=["FROM=python"], cwd="/tmp", user=pb.User(uid=1000, gid=1000, additionalGids=[7]))
started = call("StartProcess", pb.StartProcessRequest(container_id="snake", process=process)).process
expect(started.pid > 1 and started.pid != init and list(started.args) == list(process.args), "the started process")
expect(started.user.uid == 1000 and list(started.user.additionalGids) == [7] and started.cwd == "/tmp", "user and cwd of the process")
expect("FROM=python" in started.env, "environment of the process")
got = call("GetProcess", pb.GetProcessRequest(container_id="snake", pid=started.pid)).process
expect(got.pid == started.pid and not got.terminal, "the process again")
pids = {p.pid for p in call("ListProcesses", pb.ListProcessesRequest(container_id="snake")).processes}
expect({init, started.pid} <= pids, "both processes listed")

call("PauseContainer", pb.PauseContainerRequest(id="snake"))
expect(stub.GetContainer(pb.GetContainerRequest(id="snake")).container.status == pb.PAUSED, "paused")
refused("PauseContainer", pb.PauseContainerRequest(id="snake"), grpc.StatusCode.FAILED_PRECONDITION)
call("ResumeContainer", pb.ResumeContainerRequest(id="snake"))
call("UpdateContainer", pb.UpdateContainerRequest(container_id="snake", bundle_path=other_bundle))

call("SignalProcess", pb.SignalProcessRequest(container_id="snake", pid=started.pid, signal=15))
until(lambda: stub.GetProcess(pb.GetProcessRequest(container_id="snake", pid=started.pid)).process.exit_status == 143, "exit status 143")
call("DeleteProcess", pb.DeleteProcessRequest(container_id="snake", pid=started.pid))
refused("GetProcess", pb.GetProcessRequest(container_id="snake", pid=started.pid), grpc.StatusCode.NOT_FOUND)
refused("CreateContainer", pb.CreateContainerRequest(id="snake", bundle_path=bundle), grpc.StatusCode.ALREADY_EXISTS)
refused("CreateContainer", pb.CreateContainerRequest(id="../snake", bundle_path=bundle), grpc.StatusCode.INVALID_ARGUMENT)
refused("StartContainer", pb.StartContainerRequest(id="worm"), grpc.StatusCode.NOT_FOUND)

call("DeleteContainer", pb.DeleteContainerRequest(id="snake"))
refused("GetContainer", pb.GetContainerRequest(id="snake"), grpc.StatusCode.NOT_FOUND)
expect(open(output_file).read() == "hello from init\n", "the output of init")

methods = {m.name for m in pb.DESCRIPTOR.services_by_name["ExecutionService"].methods}
expect(len(methods) == 13 and methods == called, "all thirteen called, missing: %s" % sorted(methods - called))
print("all thirteen")
