using System.Buffers;
using System.Buffers.Text;
using System.Globalization;
using System.Numerics;
using System.Runtime.Intrinsics;
using System.Text;
using System.Text.Unicode;

namespace Shim.Stdio.Logs;

/// <summary>Which stream a record belongs to.</summary>
internal enum LogStream
{
    /// <summary>Standard output, or everything that comes from a terminal.</summary>
    Stdout,

    /// <summary>Standard error.</summary>
    Stderr,
}

/// <summary>
/// Makes records out of the chunks of one stream of one process. A line is held until its newline has come; one that is longer than 16 KiB becomes
/// several partial records, cut between characters. The texts of the records, one after the other, and a newline after each that is not
/// partial, are the stream again, byte for byte (in JSON: what of it is UTF-8).
/// </summary>
internal sealed class LogRecords
{
    /// <summary>The longest text of one record, in bytes. As in containerd and Docker.</summary>
    internal const int MaxText = 16 * 1024;

    // "2026-11-24T10:00:00.123456700Z", and what goes before a text: " stdout F ".
    private const int TimeBytes = 30;
    private const int HeaderBytes = TimeBytes + 10;
    private const int TagOffset = HeaderBytes - 2;
    private const byte Full = (byte)'F';
    private const byte Partial = (byte)'P';

    private readonly LogFormat _format;

    // What is the same for all records of one moment: a header (CRI), or what follows the text (JSON, where a full record begins with "\\n").
    private readonly byte[] _frame;
    private readonly int _timeOffset;
    private byte[] _held = [];
    private int _heldLength;

    internal LogRecords(LogFormat format, LogStream stream)
    {
        _format = format;
        var name = stream == LogStream.Stdout ? "stdout" : "stderr";
        var time = new string(' ', TimeBytes);
        var frame = format == LogFormat.Cri ? $"{time} {name} F " : $"\\n\",\"stream\":\"{name}\",\"time\":\"{time}\"}}\n";
        _frame = Encoding.ASCII.GetBytes(frame);
        _timeOffset = frame.IndexOf(time, StringComparison.Ordinal);
    }

    /// <summary>Adds the records of what has been read at <paramref name="utcNow"/>.</summary>
    internal void Append(ReadOnlySpan<byte> bytes, DateTime utcNow, LogBuffer output)
    {
        SetTime(utcNow);
        while (!bytes.IsEmpty)
        {
            var end = bytes.IndexOf((byte)'\n');
            if (end < 0)
            {
                Add(bytes, isWhole: false, output);
                return;
            }

            Add(bytes[..end], isWhole: true, output);
            bytes = bytes[(end + 1)..];
        }
    }

    /// <summary>The stream has ended: adds what is held as a partial record.</summary>
    internal void End(DateTime utcNow, LogBuffer output)
    {
        SetTime(utcNow);
        if (_heldLength > 0)
        {
            Write(_held.AsSpan(0, _heldLength), Partial, output);
        }

        (_held, _heldLength) = ([], 0);
    }

    /// <summary>Adds a record which says that <paramref name="bytes"/> bytes of this stream are missing here, after the beginning of the line that they cut off.</summary>
    internal void Gap(long bytes, DateTime utcNow, LogBuffer output)
    {
        End(utcNow, output);
        Write(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"[{bytes} bytes of output were dropped here: the log could not be written fast enough]")), Full, output);
    }

    private void Add(ReadOnlySpan<byte> line, bool isWhole, LogBuffer output)
    {
        while (_heldLength > 0)
        {
            var fitting = Math.Min(MaxText - _heldLength, line.Length);
            Hold(line[..fitting]);
            line = line[fitting..];
            if (line.IsEmpty)
            {
                if (isWhole)
                {
                    Write(_held.AsSpan(0, _heldLength), Full, output);
                    _heldLength = 0;
                }

                return;
            }

            var cut = Cut(_held);
            Write(_held.AsSpan(0, cut), Partial, output);
            _held.AsSpan(cut, _heldLength - cut).CopyTo(_held);
            _heldLength -= cut;
        }

        while (line.Length > MaxText)
        {
            var cut = Cut(line);
            Write(line[..cut], Partial, output);
            line = line[cut..];
        }

        if (isWhole)
        {
            Write(line, Full, output);
        }
        else
        {
            Hold(line);
        }
    }

    private void Hold(ReadOnlySpan<byte> bytes)
    {
        var needed = _heldLength + bytes.Length;
        if (_held.Length < needed)
        {
            Array.Resize(ref _held, Math.Min(MaxText, Math.Max(needed, Math.Max(256, _held.Length * 2))));
        }

        bytes.CopyTo(_held.AsSpan(_heldLength));
        _heldLength = needed;
    }

    /// <summary>Where to cut a text of at least the largest size: there, or before the character that would be cut in two.</summary>
    private static int Cut(ReadOnlySpan<byte> text)
    {
        for (var start = MaxText - 1; start >= MaxText - 3; start--)
        {
            var value = text[start];
            if ((value & 0xC0) != 0x80)
            {
                var length = value switch { >= 0xF0 => 4, >= 0xE0 => 3, >= 0xC0 => 2, _ => 1 };
                return start + length > MaxText ? start : MaxText;
            }
        }

        return MaxText;
    }

    private void SetTime(DateTime utcNow)
    {
        // Seven digits and a Z; the records have nine.
        var time = _frame.AsSpan(_timeOffset, TimeBytes);
        _ = Utf8Formatter.TryFormat(DateTime.SpecifyKind(utcNow, DateTimeKind.Utc), time, out _, new StandardFormat('O'));
        "00Z"u8.CopyTo(time[(TimeBytes - 3)..]);
    }

    private void Write(ReadOnlySpan<byte> text, byte tag, LogBuffer output)
    {
        if (_format == LogFormat.Cri)
        {
            WriteCri(text, tag, output);
        }
        else
        {
            WriteJson(text, tag, output);
        }
    }

    private void WriteCri(ReadOnlySpan<byte> text, byte tag, LogBuffer output)
    {
        var length = HeaderBytes + text.Length + 1;
        var record = output.Reserve(length);
        _frame.CopyTo(record);
        record[TagOffset] = tag;
        text.CopyTo(record[HeaderBytes..]);
        record[length - 1] = (byte)'\n';
        output.Advance(length);
    }

    private void WriteJson(ReadOnlySpan<byte> text, byte tag, LogBuffer output)
    {
        var start = "{\"log\":\""u8;
        var end = tag == Full ? _frame : _frame.AsSpan("\\n".Length);
        var isValid = Utf8.IsValid(text);
        if (isValid && PlainLength(text) == text.Length)
        {
            var length = start.Length + text.Length + end.Length;
            var record = output.Reserve(length);
            start.CopyTo(record);
            text.CopyTo(record[start.Length..]);
            end.CopyTo(record[(start.Length + text.Length)..]);
            output.Advance(length);
            return;
        }

        output.Add(start);
        if (isValid)
        {
            WriteEscaped(text, output);
        }
        else
        {
            WriteRepaired(text, output);
        }

        output.Add(end);
    }

    /// <summary>How much of the beginning of a text JSON allows in a string as it is.</summary>
    private static int PlainLength(ReadOnlySpan<byte> text)
    {
        // By hand, since a set of values is searched byte by byte in a program that has to run on every x86-64.
        var i = 0;
        for (; i <= text.Length - Vector128<byte>.Count; i += Vector128<byte>.Count)
        {
            var bytes = Vector128.Create(text[i..]);
            var special = Vector128.LessThan(bytes, Vector128.Create((byte)' '))
                | Vector128.Equals(bytes, Vector128.Create((byte)'"')) | Vector128.Equals(bytes, Vector128.Create((byte)'\\'));
            if (special != Vector128<byte>.Zero)
            {
                return i + BitOperations.TrailingZeroCount(special.ExtractMostSignificantBits());
            }
        }

        for (; i < text.Length && text[i] is >= (byte)' ' and not ((byte)'"' or (byte)'\\'); i++)
        {
        }

        return i;
    }

    private static void WriteEscaped(ReadOnlySpan<byte> text, LogBuffer output)
    {
        while (true)
        {
            var plain = PlainLength(text);
            output.Add(text[..plain]);
            if (plain == text.Length)
            {
                return;
            }

            WriteEscape(text[plain], output);
            text = text[(plain + 1)..];
        }
    }

    private static void WriteRepaired(ReadOnlySpan<byte> text, LogBuffer output)
    {
        while (!text.IsEmpty)
        {
            var (valid, length) = (0, 0);
            while (valid < text.Length && Rune.DecodeFromUtf8(text[valid..], out _, out length) == OperationStatus.Done)
            {
                valid += length;
            }

            WriteEscaped(text[..valid], output);
            text = text[valid..];
            if (!text.IsEmpty)
            {
                // What a decoder gives up as a whole.
                output.Add("\uFFFD"u8);
                text = text[length..];
            }
        }
    }

    private static void WriteEscape(byte value, LogBuffer output)
    {
        switch (value)
        {
            case (byte)'"':
                output.Add("\\\""u8);
                break;
            case (byte)'\\':
                output.Add("\\\\"u8);
                break;
            case (byte)'\r':
                output.Add("\\r"u8);
                break;
            case (byte)'\t':
                output.Add("\\t"u8);
                break;
            default:
                var escape = output.Reserve(6);
                "\\u00"u8.CopyTo(escape);
                escape[4] = (byte)('0' + (value >> 4));
                escape[5] = "0123456789abcdef"u8[value & 15];
                output.Advance(6);
                break;
        }
    }
}
