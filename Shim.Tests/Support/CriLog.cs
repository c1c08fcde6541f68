using System.Text;

namespace Shim.Tests.Support;

/// <summary>A strict reader of logs in CRI format: whatever the format does not allow is a FormatException.</summary>
public static class CriLog
{
    private const int TimeLength = 30;
    private const int HeaderLength = TimeLength + 10;

    /// <summary>All records of a log's content.</summary>
    public static IReadOnlyList<LogRecord> Parse(byte[] content)
    {
        using var stream = new MemoryStream(content);
        return [.. Read(stream)];
    }

    /// <summary>The records of a log and of the files that were rotated away, the oldest first.</summary>
    public static IEnumerable<LogRecord> ReadAll(string path)
    {
        foreach (var file in LogRecord.Files(path))
        {
            using var stream = File.OpenRead(file);
            foreach (var record in Read(stream))
            {
                yield return record;
            }
        }
    }

    private static IEnumerable<LogRecord> Read(Stream stream) => LogRecord.Lines(stream).Select(ParseLine);

    private static LogRecord ParseLine(byte[] line)
    {
        // TIME STREAM FLAG TEXT, as in "2026-11-24T10:00:00.123456789Z stdout F hello".
        var header = Encoding.ASCII.GetString(line, 0, Math.Min(line.Length, HeaderLength));
        if (header.Length < HeaderLength || header[TimeLength] != ' ' || header[TimeLength + 7] != ' ' || header[^2] is not ('F' or 'P') || header[^1] != ' ')
        {
            throw new FormatException($"not the beginning of a record: {header}");
        }

        var text = line[HeaderLength..];
        if (text.Length > LogRecord.MaxText)
        {
            throw new FormatException($"a text of {text.Length} bytes");
        }

        return new LogRecord(
            LogRecord.RequireTime(header[..TimeLength]),
            LogRecord.RequireStream(header[(TimeLength + 1)..(TimeLength + 7)]),
            header[^2] == 'F',
            text);
    }
}
