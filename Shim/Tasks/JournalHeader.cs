using System.Buffers;
using System.Text.Json;
using Shim.Runtime;

namespace Shim.Tasks;

/// <summary>
/// The first line of a journal that was rewritten: what is not in it any more. Numbers go on after <paramref name="Newest"/> also when the event
/// that had it was dropped.
/// </summary>
/// <param name="Recorded">Of the events up to this one only those are left that a successor needs.</param>
/// <param name="Newest">The newest event of that moment.</param>
/// <example>{"recorded":1024,"newest":1040}</example>
internal readonly record struct JournalHeader(long Recorded, long Newest)
{
    /// <summary>As a line without a line feed.</summary>
    internal ReadOnlyMemory<byte> ToLine()
    {
        var buffer = new ArrayBufferWriter<byte>(64);
        using (var json = new Utf8JsonWriter(buffer, PlainEncoder.Options))
        {
            json.WriteStartObject();
            json.WriteNumber("recorded"u8, Recorded);
            json.WriteNumber("newest"u8, Newest);
            json.WriteEndObject();
        }

        return buffer.WrittenMemory;
    }

    /// <summary>False for any other line.</summary>
    internal static bool TryRead(ReadOnlyMemory<byte> line, out JournalHeader header)
    {
        header = default;
        if (!line.Span.StartsWith("{\"recorded\":"u8))
        {
            return false;
        }

        try
        {
            var root = JsonElement.Parse(line.Span);
            header = new JournalHeader(root.GetProperty("recorded"u8).GetInt64(), root.GetProperty("newest"u8).GetInt64());
            return header is { Recorded: >= 0, Newest: >= 0 };
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or FormatException or InvalidOperationException)
        {
            return false;
        }
    }
}
