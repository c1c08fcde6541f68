using System.Text.Json;

namespace Supervisor.Cli.Logs;

/// <summary>{"log":"text\n","stream":"stdout","time":"2026-11-24T10:00:00.123456789Z"}: the newline belongs to the text, if there was one.</summary>
internal sealed class DockerJsonRecords : RecordParser
{
    private byte[] _text = new byte[32 * 1024];

    internal override bool TryParse(ReadOnlySpan<byte> line, out LogRecord record)
    {
        record = default;
        try
        {
            return TryRead(line, ref record);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // Not JSON, or a string that is no text: half a surrogate pair, for instance.
            return false;
        }
    }

    private bool TryRead(ReadOnlySpan<byte> line, ref LogRecord record)
    {
        var reader = new Utf8JsonReader(line);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            return false;
        }

        var (hasText, hasStream) = (false, false);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("log"u8))
            {
                reader.Read();
                if (reader.TokenType != JsonTokenType.String)
                {
                    return false;
                }

                record.Text = reader.ValueIsEscaped ? Buffer(reader.ValueSpan.Length)[..reader.CopyString(_text)] : reader.ValueSpan;
                hasText = true;
            }
            else if (reader.ValueTextEquals("stream"u8))
            {
                reader.Read();
                record.Stream = reader.ValueTextEquals("stderr"u8) ? LogStream.Stderr : LogStream.Stdout;
                hasStream = reader.TokenType == JsonTokenType.String;
            }
            else if (reader.ValueTextEquals("time"u8))
            {
                reader.Read();
                record.Time = reader.ValueSpan;
            }
            else
            {
                // "attrs", for instance.
                reader.Skip();
            }
        }

        if (!hasText || !hasStream || record.Time.IsEmpty || reader.TokenType != JsonTokenType.EndObject || reader.BytesConsumed != line.Length)
        {
            return false;
        }

        record.EndsLine = !record.Text.IsEmpty && record.Text[^1] == '\n';
        record.Text = record.EndsLine ? record.Text[..^1] : record.Text;
        return true;
    }

    /// <summary>Room for an unescaped string: escapes are never shorter than what they stand for.</summary>
    private ReadOnlySpan<byte> Buffer(int length)
    {
        if (_text.Length < length)
        {
            _text = new byte[length * 2];
        }

        return _text;
    }
}
