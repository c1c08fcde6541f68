using Containerd;
using Shim.Interop;

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
}

/// <summary>One stream address, checked: what it names and where that is.</summary>
/// <param name="Kind">What it names.</param>
/// <param name="Path">An absolute path.</param>
/// <param name="MayCreate">A missing file is created.</param>
internal readonly record struct StreamAddress(StreamKind Kind, string Path, bool MayCreate)
{
    private const string NullDevice = "/dev/null";

    /// <summary>
    /// Understands <paramref name="address"/>, or throws InvalidArgument with the reason. Looks at the file system once; whoever
    /// opens the path checks again what he got.
    /// </summary>
    /// <param name="stream">The stream's name, for messages.</param>
    /// <param name="address">As the client gave it.</param>
    internal static StreamAddress Parse(string stream, string address)
    {
        if (address.Length == 0)
        {
            return new StreamAddress(StreamKind.Null, NullDevice, false);
        }

        if (address.Contains('\0'))
        {
            throw Refusal(stream, address.Replace('\0', '?'), "it contains a NUL byte");
        }

        var separator = address.IndexOf("://", StringComparison.Ordinal);
        var scheme = separator > 0 && address[0] != '/' ? address[..separator] : "";
        // The path of an URI is percent-encoded; a plain path means itself.
        var path = scheme.Length == 0 ? address : Uri.UnescapeDataString(address[(separator + 3)..]);
        if (scheme is not ("" or "fifo" or "file"))
        {
            throw Refusal(stream, address, $"unknown scheme \"{scheme}\"");
        }

        if (path.Length == 0 || path[0] != '/')
        {
            throw Refusal(stream, address, "the path is not absolute");
        }

        // Decoding may have brought a NUL in.
        if (path.Contains('\0'))
        {
            throw Refusal(stream, address, "it contains a NUL byte");
        }

        if (scheme == "file" && path.Split('/').Contains(".."))
        {
            throw Refusal(stream, address, "the path contains \"..\"");
        }

        if (scheme.Length == 0 && path == NullDevice)
        {
            return new StreamAddress(StreamKind.Null, NullDevice, false);
        }

        // The last component is never followed if it is a link: whoever may write to that directory would choose the target.
        var kind = KindOf(stream, address, path);
        return (scheme, kind) switch
        {
            ("" or "fifo", FileKind.Fifo) => new StreamAddress(StreamKind.Fifo, path, false),
            ("", FileKind.Regular) => new StreamAddress(StreamKind.File, path, false),
            ("file", FileKind.Regular or FileKind.Missing) => new StreamAddress(StreamKind.File, path, true),
            (_, FileKind.Missing) => throw Refusal(stream, address, "no such file"),
            (_, FileKind.Directory) => throw Refusal(stream, address, "it is a directory"),
            ("fifo", _) => throw Refusal(stream, address, "it is not a FIFO"),
            ("file", _) => throw Refusal(stream, address, "it is not a regular file"),
            _ => throw Refusal(stream, address, "it is neither a FIFO nor a regular file"),
        };
    }

    /// <summary>The exception that says why the address of <paramref name="stream"/> cannot be used.</summary>
    internal static TaskException Refusal(string stream, string address, string reason) =>
        TaskException.Invalid($"cannot use \"{address}\" as {stream}: {reason}");

    /// <summary>What the client is told when the kernel refuses: its own fault, unless we or the machine have run out of something.</summary>
    internal static TaskException Failure(string stream, string address, NativeException cause)
    {
        var kind = cause.Number is Errno.EMFILE or Errno.ENFILE or Errno.ENOMEM or Errno.ENOSPC ? ErrorKind.Exhausted : ErrorKind.InvalidArgument;
        return new TaskException(kind, $"cannot open \"{address}\" as {stream}: {cause.Message}", cause);
    }

    private static FileKind KindOf(string stream, string address, string path)
    {
        try
        {
            return Libc.KindOf(path, followLinks: false);
        }
        catch (NativeException e)
        {
            throw Failure(stream, address, e);
        }
    }
}
