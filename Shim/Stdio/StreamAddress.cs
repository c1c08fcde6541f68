using System.Globalization;
using Containerd;
using Shim.Interop;
using Shim.Stdio.Logs;

namespace Shim.Stdio;

/// <summary>What a stream address names.</summary>
internal enum StreamKind
{
    /// <summary>/dev/null: an empty address, or its path.</summary>
    Null,

    /// <summary>An existing FIFO: <c>fifo:///path</c> or its path.</summary>
    Fifo,

    /// <summary>A regular file: <c>file:///path</c> (an output is created if need be) or the path of an existing one.</summary>
    File,

    /// <summary>A log that this process writes itself: <c>log:///path</c>.</summary>
    Log,

    /// <summary>A program that reads the output: <c>binary:///path</c>.</summary>
    Logger,
}

/// <summary>What it means that the reader of an output FIFO leaves.</summary>
internal enum OnDisconnect
{
    /// <summary>Nothing: bytes wait for the next reader, and the process for room when the FIFO is full.</summary>
    Wait,

    /// <summary>The process goes on, and its output is discarded.</summary>
    Discard,

    /// <summary>A terminal is hung up; without a terminal, whoever writes gets SIGPIPE.</summary>
    Hangup,
}

/// <summary>One stream address, checked: what it names and where that is.</summary>
internal sealed record StreamAddress
{
    private const string NullDevice = "/dev/null";
    private const string DisconnectOption = "on-disconnect";
    private const string SizeOption = "console-size";

    /// <summary>The stream's name, for messages.</summary>
    internal required string Stream { get; init; }

    /// <summary>The address as the client gave it.</summary>
    internal required string Given { get; init; }

    /// <summary>What it names.</summary>
    internal required StreamKind Kind { get; init; }

    /// <summary>An absolute path.</summary>
    internal required string Path { get; init; }

    /// <summary>A missing file is created.</summary>
    internal bool MayCreate { get; init; }

    /// <summary>For a FIFO: what its reader's leaving means.</summary>
    internal OnDisconnect OnDisconnect { get; init; }

    /// <summary>For a FIFO: how large the terminal is that its reader looks at.</summary>
    internal (ushort Columns, ushort Rows)? ConsoleSize { get; init; }

    /// <summary>For a log: how it is to be written.</summary>
    internal LogOptions? Log { get; init; }

    /// <summary>For a logger: its arguments, name and value in turn.</summary>
    internal IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>
    /// Understands <paramref name="address"/>, or throws InvalidArgument with the reason. Looks at the file system once; whoever
    /// opens the path checks again what he got.
    /// </summary>
    /// <param name="stream">The stream's name: stdin, stdout or stderr.</param>
    /// <param name="address">As the client gave it.</param>
    internal static StreamAddress Parse(string stream, string address)
    {
        var result = new StreamAddress { Stream = stream, Given = address, Kind = StreamKind.Null, Path = NullDevice };
        if (address.Length == 0 || address == NullDevice)
        {
            return result;
        }

        if (address.Contains('\0'))
        {
            throw (result with { Given = address.Replace('\0', '?') }).Refusal("it contains a NUL byte");
        }

        var separator = address.IndexOf("://", StringComparison.Ordinal);
        if (separator <= 0 || address[0] == '/')
        {
            // A plain path means itself, whatever characters it has.
            return result.Locate(address, "");
        }

        var scheme = address[..separator];
        var (path, query) = address[(separator + 3)..].Split('?', 2) is [var left, var right] ? (left, right) : (address[(separator + 3)..], "");
        if (scheme is not ("fifo" or "file" or "log" or "binary"))
        {
            throw result.Refusal($"unknown scheme \"{scheme}\"");
        }

        if (stream == "stdin" && scheme is ("log" or "binary"))
        {
            throw result.Refusal($"\"{scheme}\" is for outputs");
        }

        return result.Locate(Uri.UnescapeDataString(path), scheme).Configure(scheme, Pairs(query));
    }

    /// <summary>Whether two addresses lead to the very same, so that one open end serves both.</summary>
    internal bool IsSameAs(StreamAddress other) => Given == other.Given;

    /// <summary>The exception that says why the address cannot be used.</summary>
    internal TaskException Refusal(string reason) => TaskException.Invalid($"cannot use \"{Given}\" as {Stream}: {reason}");

    /// <summary>What the client is told when the kernel refuses: its own fault, unless we or the machine have run out of something.</summary>
    internal TaskException Failure(NativeException cause)
    {
        var kind = cause.Number is Errno.EMFILE or Errno.ENFILE or Errno.ENOMEM or Errno.ENOSPC ? ErrorKind.Exhausted : ErrorKind.InvalidArgument;
        return new TaskException(kind, $"cannot open \"{Given}\" as {Stream}: {cause.Message}", cause);
    }

    private StreamAddress Locate(string path, string scheme)
    {
        if (path.Length == 0 || path[0] != '/')
        {
            throw Refusal("the path is not absolute");
        }

        // Decoding may have brought a NUL in.
        if (path.Contains('\0'))
        {
            throw Refusal("it contains a NUL byte");
        }

        if (scheme is ("file" or "log" or "binary") && path.Split('/').Contains(".."))
        {
            throw Refusal("the path contains \"..\"");
        }

        if (scheme is ("file" or "log") && path[^1] == '/')
        {
            throw Refusal("it names a directory");
        }

        // The last component is never followed if it is a link: whoever may write to that directory would choose the target.
        return (scheme, KindOf(path)) switch
        {
            ("" or "fifo", FileKind.Fifo) => this with { Kind = StreamKind.Fifo, Path = path },
            ("", FileKind.Regular) => this with { Kind = StreamKind.File, Path = path },
            ("file", FileKind.Regular or FileKind.Missing) => this with { Kind = StreamKind.File, Path = path, MayCreate = true },
            ("log", FileKind.Regular or FileKind.Missing) => this with { Kind = StreamKind.Log, Path = path, MayCreate = true },

            // A program may well be a link within its directory, as editors and versions of tools are.
            ("binary", FileKind.Regular or FileKind.Other) => this with { Kind = StreamKind.Logger, Path = path },
            (_, FileKind.Missing) => throw Refusal("no such file"),
            (_, FileKind.Directory) => throw Refusal("it is a directory"),
            ("fifo", _) => throw Refusal("it is not a FIFO"),
            ("file" or "log" or "binary", _) => throw Refusal("it is not a regular file"),
            _ => throw Refusal("it is neither a FIFO nor a regular file"),
        };
    }

    private StreamAddress Configure(string scheme, List<KeyValuePair<string, string>> options)
    {
        switch (scheme)
        {
            case "log":
                try
                {
                    return this with { Log = LogOptions.Parse(options) };
                }
                catch (FormatException e)
                {
                    throw Refusal(e.Message);
                }

            case "binary":
                return this with { Arguments = [.. options.SelectMany(option => option.Value.Length > 0 ? (string[])[option.Key, option.Value] : [option.Key])] };

            default:
                var result = this;
                foreach (var (name, value) in options)
                {
                    result = (scheme, Stream, name) switch
                    {
                        ("fifo", "stdout" or "stderr", DisconnectOption) => result with { OnDisconnect = Disconnection(value) },
                        ("fifo", "stdout", SizeOption) => result with { ConsoleSize = Size(value) },
                        _ => throw Refusal($"{scheme} as {Stream} knows no option \"{name}\""),
                    };
                }

                return result;
        }
    }

    private OnDisconnect Disconnection(string value) => value switch
    {
        "wait" => OnDisconnect.Wait,
        "discard" => OnDisconnect.Discard,
        "hangup" => OnDisconnect.Hangup,
        _ => throw Refusal($"{DisconnectOption} is wait, discard or hangup, not \"{value}\""),
    };

    private (ushort Columns, ushort Rows) Size(string value) =>
        value.Split('x') is [var left, var right]
        && ushort.TryParse(left, NumberStyles.None, CultureInfo.InvariantCulture, out var columns)
        && ushort.TryParse(right, NumberStyles.None, CultureInfo.InvariantCulture, out var rows)
            ? (columns, rows)
            : throw Refusal($"{SizeOption} is COLUMNSxROWS, not \"{value}\"");

    /// <summary>The pairs of an URI's query, decoded: percent signs, and a plus for a space as forms have it.</summary>
    private static List<KeyValuePair<string, string>> Pairs(string query)
    {
        var pairs = new List<KeyValuePair<string, string>>();
        foreach (var part in query.Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var (name, value) = part.Split('=', 2) is [var left, var right] ? (left, right) : (part, "");
            pairs.Add(new(Decode(name), Decode(value)));
        }

        return pairs;

        static string Decode(string text) => Uri.UnescapeDataString(text.Replace('+', ' '));
    }

    private FileKind KindOf(string path)
    {
        try
        {
            return Libc.KindOf(path, followLinks: false);
        }
        catch (NativeException e)
        {
            throw Failure(e);
        }
    }
}
