using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Containerd.V1;
using Supervisor.Containers;
using Supervisor.Events;

namespace Supervisor.Daemon;

/// <summary>What Prometheus may know: counted as it happens, put into words when it is asked for.</summary>
internal sealed class Metrics(ContainerRegistry registry, EventLog events)
{
    private readonly ConcurrentDictionary<(string Method, string Code), long> _calls = new();
    private long _lostShims;

    /// <summary>Counts an answered call.</summary>
    internal void CountCall(string method, Grpc.Core.StatusCode code) =>
        _calls.AddOrUpdate((method, code.ToString()), 1, static (_, count) => count + 1);

    /// <summary>Counts a shim that ended without being asked to.</summary>
    internal void CountLostShim() => Interlocked.Increment(ref _lostShims);

    /// <summary>Everything in Prometheus' text format.</summary>
    internal string Render()
    {
        var text = new StringBuilder();
        Head(text, "supervisor_containers", "gauge", "Containers by status.");
        var counts = registry.Present.CountBy(container => container.Status).ToDictionary();
        foreach (var status in Enum.GetValues<Status>())
        {
            Line(text, "supervisor_containers", $"status=\"{status.ToString().ToLowerInvariant()}\"", counts.GetValueOrDefault(status));
        }

        Head(text, "supervisor_events_total", "counter", "Events published since the root was made.");
        Line(text, "supervisor_events_total", null, (long)events.NewestSequence);
        Head(text, "supervisor_shims_lost_total", "counter", "Shims that ended without being asked to, since this supervisor started.");
        Line(text, "supervisor_shims_lost_total", null, Interlocked.Read(ref _lostShims));
        Head(text, "supervisor_rpcs_total", "counter", "Answered calls by method and gRPC status.");
        foreach (var ((method, code), count) in _calls.OrderBy(call => call.Key))
        {
            Line(text, "supervisor_rpcs_total", $"method=\"{method}\",code=\"{code}\"", count);
        }

        return text.ToString();
    }

    private static void Head(StringBuilder text, string name, string type, string help) =>
        text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");

    private static void Line(StringBuilder text, string name, string? labels, long value) =>
        text.Append(CultureInfo.InvariantCulture, $"{name}{(labels is null ? "" : $"{{{labels}}}")} {value}\n");
}
