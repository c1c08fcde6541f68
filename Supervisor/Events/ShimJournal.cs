using System.Text.Json;
using Containerd.V1;
using Shim.Tasks;
using ShimContract = Containerd.Shim.V1;

namespace Supervisor.Events;

/// <summary>
/// The journal of a shim that is gone: what it wrote down and could not deliver any more. One JSON object a line; the shim's
/// <c>Tasks/TaskEventJson.cs</c> is who writes it.
/// </summary>
internal static class ShimJournal
{
    /// <summary>The events after <paramref name="sequence"/>, in order. A file that is missing has none; a line that is not an event is skipped.</summary>
    internal static List<EventRecord> ReadAfter(string path, ulong sequence, string containerId)
    {
        var records = new List<EventRecord>();
        if (!File.Exists(path))
        {
            return records;
        }

        using var log = LineLog.Open(path);
        var reader = log.ReadFrom();
        while (reader.TryRead(out var line))
        {
            if (Parse(line, containerId) is { } record && record.ShimSequence > sequence)
            {
                records.Add(record);
            }
        }

        return records;
    }

    private static EventRecord? Parse(ReadOnlyMemory<byte> line, string containerId)
    {
        try
        {
            using var document = JsonDocument.Parse(line);
            var root = document.RootElement;
            return new EventRecord
            {
                Type = EventTranslation.ToPublicType(Enum.Parse<ShimContract.EventType>(root.GetProperty("type"u8).GetString()!)),
                ContainerId = containerId,
                Pid = root.GetProperty("pid"u8).GetUInt32(),
                Init = root.GetProperty("init"u8).GetBoolean(),
                Time = root.GetProperty("time"u8).GetDateTimeOffset().UtcDateTime,
                Exit = root.TryGetProperty("exit"u8, out var exit) ? ParseExit(exit) : null,
                ShimSequence = root.GetProperty("seq"u8).GetUInt64(),
            };
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or ArgumentException or FormatException or InvalidOperationException)
        {
            return null;
        }
    }

    private static ExitRecord ParseExit(JsonElement exit) => new()
    {
        Status = exit.GetProperty("status"u8).GetUInt32(),
        Signal = exit.GetProperty("signal"u8).GetUInt32(),
        CoreDumped = exit.GetProperty("core"u8).GetBoolean(),
        Reason = Enum.Parse<ExitReason>(exit.GetProperty("reason"u8).GetString()!),
        Message = exit.GetProperty("message"u8).GetString() ?? "",
        Time = exit.GetProperty("time"u8).GetDateTimeOffset().UtcDateTime,
        UserCpuUs = exit.GetProperty("utime"u8).GetUInt64(),
        SystemCpuUs = exit.GetProperty("stime"u8).GetUInt64(),
        MaxRssKib = exit.GetProperty("maxrss"u8).GetUInt64(),
    };
}
