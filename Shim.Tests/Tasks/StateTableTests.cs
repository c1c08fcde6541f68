using Containerd;
using NUnit.Framework;
using Shim.Tasks;

namespace Shim.Tests.Tasks;

/// <summary>The whole of both tables, written out once more: every state times every event, a refusal where nothing is said.</summary>
public sealed class StateTableTests
{
    [Test]
    public void InitNext_EveryStateTimesEveryEvent_AsWritten()
    {
        // Columns in the order of InitEvent: Start, Pause, Resume, Update, Exec, Checkpoint, Signal, Exit, Delete.
        string[] table =
        [
            "Created: Running - - Created - - Created Stopped -",
            "Restorable: Running - - - - - - - Deleted",
            "Running: - Paused - Running Running Running Running Stopped -",
            "Paused: - - Running Paused - Paused Paused Stopped -",
            "Stopped: - - - - - - - Stopped Deleted",
            "Deleted: - - - - - - - Deleted -",
        ];
        Check<InitState, InitEvent>(table, (state, what) => InitStates.TryNext(state, what));
    }

    [Test]
    public void ExecNext_EveryStateTimesEveryEvent_AsWritten()
    {
        // Columns in the order of ExecEvent: Signal, Exit, Delete.
        string[] table =
        [
            "Running: Running Stopped -",
            "Stopped: - Stopped Deleted",
            "Deleted: - Deleted -",
        ];
        Check<ExecState, ExecEvent>(table, (state, what) => ExecStates.TryNext(state, what));
    }

    [Test]
    public void InitNext_EveryRefusal_PreconditionThatNamesContainerAndState()
    {
        foreach (var state in Enum.GetValues<InitState>())
        {
            foreach (var what in Enum.GetValues<InitEvent>())
            {
                if (InitStates.TryNext(state, what) is { } next)
                {
                    Assert.That(InitStates.Next(state, what, "c1"), Is.EqualTo(next));
                }
                else
                {
                    Assert.That(
                        () => InitStates.Next(state, what, "c1"),
                        Throws.TypeOf<TaskException>().With.Property("Kind").EqualTo(ErrorKind.Precondition)
                            .And.Message.Matches($"^cannot [a-z ]+ container c1: it is {InitStates.Name(state)}$"));
                }
            }
        }
    }

    [Test]
    public void Names_EveryState_Different() =>
        Assert.That(Enum.GetValues<InitState>().Select(InitStates.Name), Is.Unique.And.None.Empty);

    [Test]
    public void InitNext_UnknownStateOrEvent_Refused()
    {
        Assert.That(InitStates.TryNext((InitState)99, InitEvent.Start), Is.Null);
        Assert.That(InitStates.TryNext(InitState.Running, (InitEvent)99), Is.Null);
        Assert.That(ExecStates.TryNext((ExecState)99, ExecEvent.Exit), Is.Null);
    }

    private static void Check<TState, TEvent>(string[] table, Func<TState, TEvent, TState?> next)
        where TState : struct, Enum
        where TEvent : struct, Enum
    {
        var states = Enum.GetValues<TState>();
        var events = Enum.GetValues<TEvent>();
        Assert.That(table.Select(row => row.Split(':')[0]), Is.EqualTo(states.Select(state => state.ToString())), "a row for each state");
        foreach (var (state, row) in states.Zip(table))
        {
            var cells = row.Split(": ")[1].Split(' ');
            Assert.That(cells, Has.Length.EqualTo(events.Length), $"a cell of {state} for each event");
            foreach (var (what, cell) in events.Zip(cells))
            {
                Assert.That(next(state, what)?.ToString() ?? "-", Is.EqualTo(cell), $"{state} and {what}");
            }
        }
    }
}
