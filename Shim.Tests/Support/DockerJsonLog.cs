using System.Text;
using System.Text.Json;

namespace Shim.Tests.Support;

/// <summary>A strict reader of logs in docker-json format: whatever the format does not allow is a FormatException.</summary>
public static class DockerJsonLog
{
    // Every byte that is not UTF-8 becomes a character of three.
    private const int MaxText = 3 * LogRecord.MaxText;

    private static readonly string[] s_names = ["log", "stream", "time"];
    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>All records of a log's content. Their texts are UTF-8, whatever the process wrote.</summary>
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
        var (log, stream, time) = Properties(line);
        var isWhole = log.EndsWith('\n');
        var text = s_strict.GetBytes(isWhole ? log[..^1] : log);
        if (text.Length > MaxText || text.Contains((byte)'\n') || (text.Length == 0 && !isWhole))
        {
            throw new FormatException($"a text of {text.Length} bytes that is no line and no part of one");
        }

        return new LogRecord(LogRecord.RequireTime(time), LogRecord.RequireStream(stream), isWhole, text);
    }

    private static (string Log, string Stream, string Time) Properties(byte[] line)
    {
        try
        {
            using var document = JsonDocument.Parse(s_strict.GetString(line));
            var properties = document.RootElement.EnumerateObject().ToList();
            if (!properties.Select(property => property.Name).SequenceEqual(s_names))
            {
                throw new FormatException($"not the properties of a record: {string.Join(", ", properties.Select(property => property.Name))}");
            }

            return (Text(0), Text(1), Text(2));

            string Text(int index) => properties[index].Value.GetString()!;
        }
        catch (Exception e) when (e is JsonException or DecoderFallbackException or InvalidOperationException)
        {
            throw new FormatException($"not a record: {e.Message}", e);
        }
    }
}
