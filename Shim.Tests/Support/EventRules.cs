using Containerd.V1;
using NUnit.Framework;

namespace Shim.Tests.Support;

/// <summary>The order that every stream of events keeps (DESIGN: rules for processes and exits).</summary>
public static class EventRules
{
    private enum Step
    {
        None,
        Added,
        Started,
        Exited,
        Deleted,
    }

    /// <summary>Fails, with every violation named, unless the events keep the rules.</summary>
    public static void Check(IReadOnlyList<Event> events)
    {
        var violations = Violations(events);
        Assert.That(violations, Is.Empty, () => $"of {events.Count} events:\n{string.Join('\n', events.TakeLast(60).Select(Describe))}");
    }

    /// <summary>Every violation of the rules, in words.</summary>
    public static IReadOnlyList<string> Violations(IReadOnlyList<Event> events)
    {
        var violations = new List<string>();
        for (var i = 1; i < events.Count; i++)
        {
            if (events[i].Sequence != events[i - 1].Sequence + 1)
            {
                violations.Add($"number {events[i].Sequence} after {events[i - 1].Sequence}");
            }
        }

        foreach (var container in events.GroupBy(e => e.ContainerId))
        {
            CheckContainer([.. container], violations);
        }

        return violations;
    }

    /// <summary>An event in one line.</summary>
    public static string Describe(Event e) =>
        $"{e.Sequence} {e.ContainerId} {e.Type} pid {e.Pid}{(e.Init ? " init" : string.Empty)}"
        + (e.Exit is null ? string.Empty : $" status {e.Exit.Status} signal {e.Exit.Signal} {e.Exit.Reason}");

    private static void CheckContainer(List<Event> events, List<string> violations)
    {
        // An id is used again after its container was deleted, and a pid after its process was collected.
        var steps = new Dictionary<uint, Step>();
        bool created = false, initExited = false;
        foreach (var e in events)
        {
            var before = steps.GetValueOrDefault(e.Pid);
            void Expect(bool right)
            {
                if (!right)
                {
                    violations.Add($"{Describe(e)}: the process was {before}, init had {(initExited ? "exited" : "not exited")}, the container was {(created ? "created" : "not created")}");
                }
            }

            switch (e.Type)
            {
                case EventType.Created:
                    Expect(!created && e.Init);
                    (created, initExited) = (true, false);
                    steps.Clear();
                    steps[e.Pid] = Step.Added;
                    break;
                case EventType.ExecAdded:
                    Expect(created && !initExited && !e.Init && before is Step.None or Step.Exited or Step.Deleted);
                    steps[e.Pid] = Step.Added;
                    break;
                case EventType.Started:
                    Expect(created && !initExited && before == Step.Added);
                    steps[e.Pid] = Step.Started;
                    break;
                case EventType.Exited:
                    // Init can be killed before it was started; an exec is started as soon as it is added.
                    Expect(created && !initExited && (before == Step.Started || (before == Step.Added && e.Init)) && e.Exit is not null);
                    steps[e.Pid] = Step.Exited;
                    if (e.Init)
                    {
                        initExited = true;
                        Expect(!steps.Any(process => process.Key != e.Pid && process.Value is Step.Added or Step.Started));
                    }

                    break;
                case EventType.Deleted:
                    Expect(created && before == Step.Exited);
                    steps[e.Pid] = Step.Deleted;
                    created = created && !e.Init;
                    break;
                case EventType.Oom or EventType.Paused or EventType.Resumed or EventType.Updated:
                    Expect(created);
                    break;
                default:
                    violations.Add($"{Describe(e)}: no such type");
                    break;
            }
        }
    }
}
