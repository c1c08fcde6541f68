using Containerd.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using static Grpc.Core.StatusCode;

namespace Shim.Tests.Api;

/// <summary>Every state of a container times every operation: the code that each must answer, written out.</summary>
public sealed class StateMatrixTests : SupervisorTests
{
    public enum ContainerState
    {
        Created,
        Running,
        Paused,
        Stopped,
        Deleted,
    }

    public enum Operation
    {
        Start,
        Pause,
        Resume,
        Update,
        Exec,
        Signal,
        KillAll,
        Get,
        List,
        Inspect,
        ListProcesses,
        GetInit,
        Stats,
        Wait,
        Resize,
        CloseStdin,
        DeleteInit,
        Delete,
    }

    // Wait on what has not ended answers when the caller's deadline has passed. The containers have no terminal, so none can be
    // resized. A signal to an ended process finds no process; an ended container uses nothing that could be counted.
    private static readonly Dictionary<Operation, StatusCode[]> s_expected = new()
    {
        //                           created             running             paused              stopped             deleted
        [Operation.Start] =         [OK,                 FailedPrecondition, FailedPrecondition, FailedPrecondition, NotFound],
        [Operation.Pause] =         [FailedPrecondition, OK,                 FailedPrecondition, FailedPrecondition, NotFound],
        [Operation.Resume] =        [FailedPrecondition, FailedPrecondition, OK,                 FailedPrecondition, NotFound],
        [Operation.Update] =        [OK,                 OK,                 OK,                 FailedPrecondition, NotFound],
        [Operation.Exec] =          [FailedPrecondition, OK,                 FailedPrecondition, FailedPrecondition, NotFound],
        [Operation.Signal] =        [OK,                 OK,                 OK,                 NotFound,           NotFound],
        [Operation.KillAll] =       [OK,                 OK,                 OK,                 FailedPrecondition, NotFound],
        [Operation.Get] =           [OK,                 OK,                 OK,                 OK,                 NotFound],
        [Operation.List] =          [OK,                 OK,                 OK,                 OK,                 OK],
        [Operation.Inspect] =       [OK,                 OK,                 OK,                 OK,                 NotFound],
        [Operation.ListProcesses] = [OK,                 OK,                 OK,                 OK,                 NotFound],
        [Operation.GetInit] =       [OK,                 OK,                 OK,                 OK,                 NotFound],
        [Operation.Stats] =         [OK,                 OK,                 OK,                 FailedPrecondition, NotFound],
        [Operation.Wait] =          [DeadlineExceeded,   DeadlineExceeded,   DeadlineExceeded,   OK,                 NotFound],
        [Operation.Resize] =        [FailedPrecondition, FailedPrecondition, FailedPrecondition, FailedPrecondition, NotFound],
        [Operation.CloseStdin] =    [OK,                 OK,                 OK,                 OK,                 NotFound],
        [Operation.DeleteInit] =    [FailedPrecondition, FailedPrecondition, FailedPrecondition, FailedPrecondition, NotFound],
        [Operation.Delete] =        [OK,                 OK,                 OK,                 OK,                 NotFound],
    };

    [Test]
    public async Task EveryOperation_InEveryState_AnswersAsWritten([Values] ContainerState state, [Values] Operation operation)
    {
        var container = await BringToAsync(state);
        var outcome = await TryAsync(container, operation);
        Assert.That(outcome.StatusCode, Is.EqualTo(s_expected[operation][(int)state]), outcome.ToString());
        if (outcome.StatusCode is not (OK or DeadlineExceeded))
        {
            Assert.That(outcome.Detail, Does.Contain(container.Id));
        }

        await AssertStateAfterAsync(container, state, operation, outcome.StatusCode);
    }

    private async Task<TestContainer> BringToAsync(ContainerState state)
    {
        var container = await TestContainer.CreateAsync(Supervisor);
        if (state != ContainerState.Created)
        {
            await container.StartAsync();
        }

        switch (state)
        {
            case ContainerState.Paused:
                await container.PauseAsync();
                break;
            case ContainerState.Stopped:
                await container.KillAsync();
                break;
            case ContainerState.Deleted:
                await container.DeleteAsync();
                break;
        }

        return container;
    }

    private async Task<Grpc.Core.Status> TryAsync(TestContainer container, Operation operation)
    {
        var containers = Supervisor.Containers;
        var control = Supervisor.Control;
        var id = container.Id;
        return operation switch
        {
            Operation.Start => await Refusal.OutcomeAsync(containers.StartContainerAsync(new StartContainerRequest { Id = id })),
            Operation.Pause => await Refusal.OutcomeAsync(containers.PauseContainerAsync(new PauseContainerRequest { Id = id })),
            Operation.Resume => await Refusal.OutcomeAsync(containers.ResumeContainerAsync(new ResumeContainerRequest { Id = id })),
            Operation.Update => await Refusal.OutcomeAsync(
                containers.UpdateContainerAsync(new UpdateContainerRequest { ContainerId = id, BundlePath = Supervisor.NewBundle().PidsLimit(99).Write().Path })),
            Operation.Exec => await Refusal.OutcomeAsync(containers.StartProcessAsync(container.ExecRequest("true"))),
            // SIGCHLD: ignored by whoever has not asked for it, so that the state stays what it is.
            Operation.Signal => await Refusal.OutcomeAsync(
                containers.SignalProcessAsync(new SignalProcessRequest { ContainerId = id, Pid = container.Pid, Signal = 17 })),
            Operation.KillAll => await Refusal.OutcomeAsync(control.KillAsync(new KillRequest { ContainerId = id, Signal = 17, All = true })),
            Operation.Get => await Refusal.OutcomeAsync(containers.GetContainerAsync(new GetContainerRequest { Id = id })),
            Operation.List => await Refusal.OutcomeAsync(containers.ListContainersAsync(new ListContainersRequest())),
            Operation.Inspect => await Refusal.OutcomeAsync(control.InspectAsync(new InspectRequest { ContainerIds = { id } })),
            Operation.ListProcesses => await Refusal.OutcomeAsync(containers.ListProcessesAsync(new ListProcessesRequest { ContainerId = id })),
            Operation.GetInit => await Refusal.OutcomeAsync(containers.GetProcessAsync(new GetProcessRequest { ContainerId = id, Pid = container.Pid })),
            Operation.Stats => await Refusal.OutcomeAsync(control.GetStatsAsync(new GetStatsRequest { ContainerId = id })),
            Operation.Wait => await Refusal.OutcomeAsync(
                control.WaitAsync(new WaitRequest { ContainerId = id }, deadline: DateTime.UtcNow.AddMilliseconds(300))),
            Operation.Resize => await Refusal.OutcomeAsync(
                control.ResizeConsoleAsync(new ResizeConsoleRequest { ContainerId = id, Width = 80, Height = 24 })),
            Operation.CloseStdin => await Refusal.OutcomeAsync(control.CloseStdinAsync(new CloseStdinRequest { ContainerId = id })),
            Operation.DeleteInit => await Refusal.OutcomeAsync(
                containers.DeleteProcessAsync(new DeleteProcessRequest { ContainerId = id, Pid = container.Pid })),
            Operation.Delete => await Refusal.OutcomeAsync(containers.DeleteContainerAsync(new DeleteContainerRequest { Id = id })),
            _ => throw new ArgumentOutOfRangeException(nameof(operation)),
        };
    }

    // A refused operation changes nothing; one that worked has the effect of its name.
    private async Task AssertStateAfterAsync(TestContainer container, ContainerState before, Operation operation, StatusCode outcome)
    {
        var after = (operation, outcome) switch
        {
            (Operation.Start or Operation.Resume, OK) => ContainerState.Running,
            (Operation.Pause, OK) => ContainerState.Paused,
            (Operation.Delete, OK) => ContainerState.Deleted,
            _ => before,
        };
        var list = await Supervisor.Containers.ListContainersAsync(new ListContainersRequest());
        if (after == ContainerState.Deleted)
        {
            Assert.That(list.Containers, Is.Empty);
            return;
        }

        Assert.That(list.Containers.Single().Status.ToString(), Is.EqualTo(after.ToString()));
        Assert.That((await container.StatusAsync()).ToString(), Is.EqualTo(after.ToString()));
    }
}
