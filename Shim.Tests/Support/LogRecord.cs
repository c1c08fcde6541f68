namespace Shim.Tests.Support;

/// <summary>One record of a container's log.</summary>
/// <param name="Time">When it was read from the process, as the log says it.</param>
/// <param name="Stream">stdout or stderr.</param>
/// <param name="IsWhole">Whether the line ended with this record; else the line goes on in the next one, or the stream ended in it.</param>
/// <param name="Text">The bytes of the line, without its newline.</param>
public sealed record LogRecord(string Time, string Stream, bool IsWhole, byte[] Text)
{
    /// <summary>The longest text that a record may have.</summary>
    public const int MaxText = 16 * 1024;

    /// <summary>What the process wrote to a stream.</summary>
    public static byte[] Join(IEnumerable<LogRecord> records, string stream)
    {
        using var bytes = new MemoryStream();
        foreach (var record in records.Where(record => record.Stream == stream))
        {
            bytes.Write(record.Text);
            if (record.IsWhole)
            {
                bytes.WriteByte((byte)'\n');
            }
        }

        return bytes.ToArray();
    }

    /// <summary>The files of a log, the oldest first: what was rotated away, then the current one.</summary>
    public static IReadOnlyList<string> Files(string path)
    {
        var numbers = Enumerable.Range(1, 100).TakeWhile(number => File.Exists($"{path}.{number}")).ToList();
        return [.. numbers.AsEnumerable().Reverse().Select(number => $"{path}.{number}"), path];
    }

    /// <summary>The lines of a file, each of which must have its newline.</summary>
    internal static IEnumerable<byte[]> Lines(Stream file)
    {
        var buffer = new byte[64 * 1024];
        var (start, end) = (0, 0);
        while (true)
        {
            var length = Array.IndexOf(buffer, (byte)'\n', start, end - start) - start;
            if (length >= 0)
            {
                yield return buffer[start..(start + length)];
                start += length + 1;
                continue;
            }

            Buffer.BlockCopy(buffer, start, buffer, 0, end - start);
            (start, end) = (0, end - start);
            if (end == buffer.Length)
            {
                Array.Resize(ref buffer, 2 * buffer.Length);
            }

            var count = file.Read(buffer, end, buffer.Length - end);
            if (count == 0)
            {
                break;
            }

            end += count;
        }

        if (end > 0)
        {
            throw new FormatException($"the file ends inside of a record, with {end} bytes of it");
        }
    }

    /// <summary>Throws unless the text is a time in UTC with nine digits behind the point.</summary>
    internal static string RequireTime(string time) =>
        time.Length == "2026-11-24T10:00:00.123456789Z".Length
        && time[^1] == 'Z'
        && DateTime.TryParseExact(time[..^3], "yyyy-MM-dd'T'HH:mm:ss.fffffff", null, default, out _)
        && time[^3..^1].All(char.IsAsciiDigit)
            ? time
            : throw new FormatException($"not a time: {time}");

    /// <summary>Throws unless the text is the name of a stream.</summary>
    internal static string RequireStream(string name) => name is "stdout" or "stderr" ? name : throw new FormatException($"not a stream: {name}");
}
