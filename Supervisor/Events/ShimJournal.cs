using System.Text.Json;
using Containerd.V1;
using Shim.Interop;
using Shim.Tasks;
using ShimContract = Containerd.Shim.V1;

namespace Supervisor.Events;

/// <summary>
/// The journal of a shim that is gone: what it wrote down and could not deliver any more. One JSON object a line; the shim's
/// <c>Tasks/TaskEventJson.cs</c> is who writes it.
/// </summary>
internal static class ShimJournal
{
    /// <summary>
    /// The events after <paramref name="sequence"/>, in order, of a file that is left as it is. One that is missing has none; of one that is
    /// damaged those count that can be read, and <paramref name="damaged"/> is told where the others were.
    /// </summary>
    internal static List<EventRecord> ReadAfter(string path, ulong sequence, string containerId, Action<string>? damaged = null)
    {
        var records = new List<EventRecord>();
        var damage = new LineDamage(path);
        try
        {
            using var log = LineLog.OpenForReading(path);
            var reader = log.ReadFrom();
            for (var offset = 0L; reader.TryRead(out var line); offset = reader.Offset)
            {
                if (Parse(line, containerId) is not { } record)
                {
                    // What a shim has dropped it has dropped because it is recorded here.
                    if (!JournalHeader.TryRead(line, out _))
                    {
                        damage.Add(offset, line.Length);
                    }
                }
                else if (record.ShimSequence > sequence)
                {
                    records.Add(record);
                }
            }

            if (log.Cut.Bytes > 0)
            {
                damage.Add(log.Cut.Offset, (int)Math.Min(log.Cut.Bytes, int.MaxValue));
            }
        }
        catch (NativeException e) when (e.Number == Errno.ENOENT)
        {
            return records;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            damaged?.Invoke($"{path} cannot be read: {e.Message}");
        }

        if (damage.Any)
        {
            damaged?.Invoke(damage.ToString());
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
