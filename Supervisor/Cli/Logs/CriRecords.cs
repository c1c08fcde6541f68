namespace Supervisor.Cli.Logs;

/// <summary>"2026-11-24T10:00:00.123456789Z stdout F text": time, stream, F for the end of a line or P for a part of one, text.</summary>
internal sealed class CriRecords : RecordParser
{
    // "stdout F" and "stderr P".
    private const int StreamLength = 7;

    internal override bool TryParse(ReadOnlySpan<byte> line, out LogRecord record)
    {
        record = default;
        var timeLength = line.IndexOf((byte)' ');
        if (timeLength <= 0)
        {
            return false;
        }

        var rest = line[(timeLength + 1)..];
        if (rest.StartsWith("stderr "u8))
        {
            record.Stream = LogStream.Stderr;
        }
        else if (!rest.StartsWith("stdout "u8))
        {
            return false;
        }

        rest = rest[StreamLength..];
        if (rest.IsEmpty || rest[0] is not ((byte)'F' or (byte)'P'))
        {
            return false;
        }

        record.EndsLine = rest[0] == 'F';
        record.Time = line[..timeLength];

        // More tags may follow the first one after a colon; a text always follows a space, an empty one may lack it.
        var text = rest.IndexOf((byte)' ');
        if (text < 0)
        {
            return rest.Length == 1 || rest[1] == ':';
        }

        record.Text = rest[(text + 1)..];
        return text == 1 || rest[1] == ':';
    }
}
