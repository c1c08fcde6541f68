using System.Text;
using System.Text.Json;
using Containerd;

namespace Shim.Runtime;

/// <summary>
/// Runtimes talk in text. The matching of that text is confined to here: which line is the error, and which kind of error it is.
/// The phrases are runc's (1.0 to 1.3) and crun's.
/// </summary>
internal static class RuntimeErrors
{
    private const int MaxMessage = 4096;

    // What a message says about the container itself stands at its end. Anywhere else it may be the caller's own words, which runtimes
    // quote; and a creation that takes them for "somebody else's container" would not clean up after itself.
    private static readonly (string Ending, ErrorKind Kind)[] s_endings =
    [
        ("already exists", ErrorKind.AlreadyExists),
        ("does not exist", ErrorKind.NotFound),
    ];

    private static readonly (string Phrase, ErrorKind Kind)[] s_phrases =
    [
        ("cannot exec in a stopped container", ErrorKind.Precondition),
        ("cannot exec in a paused container", ErrorKind.Precondition),
        ("cannot exec a container that has", ErrorKind.Precondition),
        ("cannot start a container that has stopped", ErrorKind.Precondition),
        ("cannot start an already running container", ErrorKind.Precondition),
        ("container not running", ErrorKind.Precondition),
        ("container not paused", ErrorKind.Precondition),
        ("container not created", ErrorKind.Precondition),
        ("process already finished", ErrorKind.Precondition),
        ("executable file not found", ErrorKind.InvalidArgument),
        ("no such file or directory", ErrorKind.InvalidArgument),
        ("permission denied", ErrorKind.InvalidArgument),
        ("exec format error", ErrorKind.InvalidArgument),
        ("is a directory", ErrorKind.InvalidArgument),
        ("not a directory", ErrorKind.InvalidArgument),
        ("unable to find user", ErrorKind.InvalidArgument),
        ("invalid argument", ErrorKind.InvalidArgument),
        ("must be an absolute path", ErrorKind.InvalidArgument),
        ("invalid container id", ErrorKind.InvalidArgument),
        ("invalid environment variable", ErrorKind.InvalidArgument),
        ("json: cannot unmarshal", ErrorKind.InvalidArgument),
        ("invalid character", ErrorKind.InvalidArgument),
        ("cannot allocate memory", ErrorKind.Exhausted),
        ("resource temporarily unavailable", ErrorKind.Exhausted),
        ("no space left on device", ErrorKind.Exhausted),
        ("too many open files", ErrorKind.Exhausted),
    ];

    /// <summary>What kind of failure the runtime's <paramref name="message"/> describes.</summary>
    internal static ErrorKind Classify(string message)
    {
        foreach (var (ending, kind) in s_endings)
        {
            if (message.AsSpan().TrimEnd().EndsWith(ending, StringComparison.OrdinalIgnoreCase))
            {
                return kind;
            }
        }

        foreach (var (phrase, kind) in s_phrases)
        {
            if (message.Contains(phrase, StringComparison.OrdinalIgnoreCase))
            {
                return kind;
            }
        }

        return ErrorKind.RuntimeFailed;
    }

    /// <summary>
    /// The runtime's own words out of what it logged and printed: its last error line when it logs JSON, else the end of the text.
    /// Never more than 4 KiB, however much it printed.
    /// </summary>
    internal static string LastError(ReadOnlySpan<byte> output)
    {
        string? last = null;
        string? lastText = null;
        foreach (var range in output.Split((byte)'\n'))
        {
            var line = output[range].Trim(" \r\t"u8);
            if (line.IsEmpty)
            {
                continue;
            }

            if (line[0] == (byte)'{' && ErrorMessage(line) is { } message)
            {
                last = message;
            }
            else if (line[0] != (byte)'{')
            {
                lastText = Encoding.UTF8.GetString(line[..Math.Min(line.Length, MaxMessage)]);
            }
        }

        var text = last ?? lastText ?? "";
        return text.Length <= MaxMessage ? text : text[..MaxMessage];
    }

    private static string? ErrorMessage(ReadOnlySpan<byte> line)
    {
        try
        {
            var reader = new Utf8JsonReader(line);
            string? level = null;
            string? message = null;
            while (reader.Read())
            {
                if (reader.TokenType == JsonTokenType.PropertyName && reader.CurrentDepth == 1)
                {
                    if (reader.ValueTextEquals("level"u8) && reader.Read() && reader.TokenType == JsonTokenType.String)
                    {
                        level = reader.GetString();
                    }
                    else if (reader.TokenType == JsonTokenType.PropertyName && reader.ValueTextEquals("msg"u8) && reader.Read() && reader.TokenType == JsonTokenType.String)
                    {
                        message = reader.GetString();
                    }
                }
            }

            return level is "error" or "fatal" or "panic" ? message : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // Cut off in the middle of a line, or a string that is no Unicode: not the error we look for.
            return null;
        }
    }
}
