using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Stdio;

/// <summary>
/// Where files that callers name may lie. Everything is opened step by step from a directory that an administrator trusts, so that no link
/// on the way, which a container may have made, leads anywhere else.
/// </summary>
/// <param name="allowed">Absolute paths. None: any directory will do, and then no link at all is followed.</param>
internal sealed class LogDirectories(IReadOnlyList<string> allowed)
{
    // 0600: what a container prints is nobody else's business.
    private const uint NewFileMode = 0x180;

    private readonly string[] _allowed = [.. allowed.Select(directory => directory.Length > 1 ? directory.TrimEnd('/') : directory)];

    /// <summary>Opens, and creates if it may, the regular file of an address for appending.</summary>
    internal SafeFileHandle OpenFile(StreamAddress address)
    {
        using var directory = OpenDirectoryOf(address);
        return OpenFile(directory, Path.GetFileName(address.Path), address.MayCreate);
    }

    /// <summary>Opens a file for appending in an open directory.</summary>
    internal static SafeFileHandle OpenFile(SafeFileHandle directory, string name, bool mayCreate)
    {
        // Non-blocking for the open only: if somebody has put a FIFO there meanwhile, it fails instead of waiting for a reader.
        var flags = Libc.O_WRONLY | Libc.O_APPEND | Libc.O_NOCTTY | Libc.O_NONBLOCK | (mayCreate ? Libc.O_CREAT : 0);
        var file = Libc.OpenBeneath(directory, name, flags, mayCreate ? NewFileMode : 0);
        try
        {
            Descriptors.Require(file, FileKind.Regular, name);
            Fd.SetNonBlocking(file, false);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Opens the directory in which the file of an address lies, as a place to open, rename and delete in.</summary>
    internal SafeFileHandle OpenDirectoryOf(StreamAddress address)
    {
        var directory = Path.GetDirectoryName(address.Path)!;
        var top = _allowed.Length == 0 ? "/"
            : _allowed.FirstOrDefault(allowed => address.Path.StartsWith(allowed == "/" ? allowed : allowed + "/", StringComparison.Ordinal))
                ?? throw address.Refusal($"it is outside of the directories that are allowed for logs: {string.Join(", ", _allowed)} (--log-dir)");
        var rest = directory.Length > top.Length ? directory[top.Length..].Trim('/') : "";
        try
        {
            using var start = Fd.Open(top, Libc.O_PATH | Libc.O_DIRECTORY);
            return Libc.OpenBeneath(start, rest.Length > 0 ? rest : ".", Libc.O_PATH | Libc.O_DIRECTORY, followLinks: _allowed.Length > 0);
        }
        catch (NativeException e) when (e.Number == Errno.ELOOP)
        {
            throw address.Refusal("a symbolic link is on the way: name the real path, or allow the directory with --log-dir");
        }
        catch (NativeException e) when (e.Number == Errno.EXDEV)
        {
            throw address.Refusal($"a symbolic link leads out of {top}");
        }
    }
}
