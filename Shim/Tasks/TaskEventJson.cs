using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using Shim.Processes;
using Shim.Runtime;
using Shim.Stdio;

namespace Shim.Tasks;

/// <summary>
/// Events as the journal holds them: one JSON object a line, so that a successor of this shim, the supervisor after a crash, and a
/// person with a pager can read them. Members that do not apply are left out; unknown ones are skipped when reading.
/// </summary>
/// <example>
/// {"seq":3,"time":"2026-01-31T12:00:00.0000000+00:00","type":"Exit","id":"web","pid":4242,"init":true,
/// "exit":{"status":137,"signal":9,"core":false,"reason":"OomKilled","message":"...","time":"...","utime":1200,"stime":300,"maxrss":2048}}
/// </example>
internal static class TaskEventJson
{
    // By their values. Enum.ToString and Enum.Parse read the names by reflection, whose tables would stay in every shim.
    private static readonly string[] s_types =
    [
        nameof(TaskEventType.Create), nameof(TaskEventType.ExecAdded), nameof(TaskEventType.Start), nameof(TaskEventType.Exit), nameof(TaskEventType.Oom),
        nameof(TaskEventType.Pause), nameof(TaskEventType.Resume), nameof(TaskEventType.Update), nameof(TaskEventType.Checkpoint), nameof(TaskEventType.Delete),
    ];

    private static readonly string[] s_reasons =
    [
        nameof(ExitReason.Exited), nameof(ExitReason.Signaled), nameof(ExitReason.OomKilled), nameof(ExitReason.RuntimeError), nameof(ExitReason.ShimLost),
        nameof(ExitReason.Unknown),
    ];

    /// <summary>The event as one line without a line feed.</summary>
    internal static ReadOnlyMemory<byte> Write(TaskEvent e)
    {
        var buffer = new ArrayBufferWriter<byte>(256);
        using (var json = new Utf8JsonWriter(buffer, PlainEncoder.Options))
        {
            json.WriteStartObject();
            json.WriteNumber("seq"u8, e.Sequence);
            json.WriteString("time"u8, e.Time);
            json.WriteString("type"u8, s_types[(int)e.Type]);
            json.WriteString("id"u8, e.ContainerId);
            json.WriteNumber("pid"u8, e.Pid);
            json.WriteBoolean("init"u8, e.Init);
            WriteUnlessEmpty(json, "exec"u8, e.ExecId);
            WriteUnlessEmpty(json, "checkpoint"u8, e.Checkpoint);
            if (e.Exit is { } exit)
            {
                json.WriteStartObject("exit"u8);
                json.WriteNumber("status"u8, exit.Status.Code);
                json.WriteNumber("signal"u8, exit.Status.Signal);
                json.WriteBoolean("core"u8, exit.Status.CoreDumped);
                json.WriteString("reason"u8, s_reasons[(int)exit.Reason]);
                json.WriteString("message"u8, exit.Message);
                json.WriteString("time"u8, exit.Time);
                json.WriteNumber("utime"u8, exit.Usage.UserMicroseconds);
                json.WriteNumber("stime"u8, exit.Usage.SystemMicroseconds);
                json.WriteNumber("maxrss"u8, exit.Usage.MaxRssKib);
                json.WriteEndObject();
            }

            if (e.Trace is { } trace)
            {
                json.WriteStartObject("process"u8);
                json.WriteNumber("start"u8, trace.StartTime);
                json.WriteString("stdin"u8, trace.Streams.Stdin);
                json.WriteString("stdout"u8, trace.Streams.Stdout);
                json.WriteString("stderr"u8, trace.Streams.Stderr);
                json.WriteBoolean("terminal"u8, trace.Streams.Terminal);
                json.WriteString("outpipe"u8, trace.StdoutPipe);
                json.WriteString("errpipe"u8, trace.StderrPipe);
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        return buffer.WrittenMemory;
    }

    /// <summary>No event is shorter than this.</summary>
    internal const int MinLineBytes = 64;

    /// <summary>Reads a line back; false for anything that <see cref="Write"/> would not have written.</summary>
    internal static bool TryRead(ReadOnlyMemory<byte> line, [NotNullWhen(true)] out TaskEvent? e)
    {
        try
        {
            e = Read(line);
            return true;
        }
        catch (InvalidDataException)
        {
            e = null;
            return false;
        }
    }

    /// <summary>Reads a line back. Throws <see cref="InvalidDataException"/> for anything that <see cref="Write"/> would not have written.</summary>
    internal static TaskEvent Read(ReadOnlyMemory<byte> line)
    {
        try
        {
            var root = JsonElement.Parse(line.Span);
            return new TaskEvent(
                (TaskEventType)IndexOf(s_types, root.GetProperty("type"u8)),
                root.GetProperty("id"u8).GetString() ?? throw new FormatException("id is null"),
                root.GetProperty("pid"u8).GetInt32(),
                root.GetProperty("init"u8).GetBoolean(),
                root.TryGetProperty("exit"u8, out var exit) ? ReadExit(exit) : null)
            {
                Sequence = root.GetProperty("seq"u8).GetInt64(),
                Time = root.GetProperty("time"u8).GetDateTimeOffset(),
                ExecId = root.TryGetProperty("exec"u8, out var exec) ? exec.GetString() ?? "" : "",
                Checkpoint = root.TryGetProperty("checkpoint"u8, out var checkpoint) ? checkpoint.GetString() ?? "" : "",
                Trace = root.TryGetProperty("process"u8, out var trace) ? ReadTrace(trace) : null,
            };
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or ArgumentException or FormatException or InvalidOperationException)
        {
            throw new InvalidDataException($"not a journal line: {e.Message}", e);
        }
    }

    private static void WriteUnlessEmpty(Utf8JsonWriter json, ReadOnlySpan<byte> name, string text)
    {
        if (text.Length > 0)
        {
            json.WriteString(name, text);
        }
    }

    private static ProcessTrace ReadTrace(JsonElement trace) => new(
        trace.GetProperty("start"u8).GetUInt64(),
        new StreamAddresses(Text(trace, "stdin"u8), Text(trace, "stdout"u8), Text(trace, "stderr"u8), trace.GetProperty("terminal"u8).GetBoolean()),
        Text(trace, "outpipe"u8),
        Text(trace, "errpipe"u8));

    private static string Text(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.GetProperty(name).GetString() ?? throw new FormatException("a text is null");

    private static int IndexOf(string[] names, JsonElement name)
    {
        var index = Array.IndexOf(names, name.GetString());
        return index >= 0 ? index : throw new FormatException($"{name} is none of {string.Join(", ", names)}");
    }

    private static ExitRecord ReadExit(JsonElement exit) => new(
        new ExitStatus(exit.GetProperty("status"u8).GetInt32(), exit.GetProperty("signal"u8).GetInt32(), exit.GetProperty("core"u8).GetBoolean()),
        (ExitReason)IndexOf(s_reasons, exit.GetProperty("reason"u8)),
        exit.GetProperty("message"u8).GetString() ?? "",
        exit.GetProperty("time"u8).GetDateTimeOffset(),
        new ResourceUse(exit.GetProperty("utime"u8).GetUInt64(), exit.GetProperty("stime"u8).GetUInt64(), exit.GetProperty("maxrss"u8).GetUInt64()));
}
