using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Stdio.Logs;

/// <summary>An open directory in which log files are opened, renamed and deleted, whatever becomes of its path.</summary>
internal sealed class LogDirectory(SafeFileHandle directory) : IDisposable
{
    /// <summary>Opens a file for appending, and creates it (0600) if need be.</summary>
    internal SafeFileHandle Open(string name) => LogDirectories.OpenFile(directory, name, mayCreate: true);

    /// <summary>Renames a file; one that is not there is left out.</summary>
    internal void Rename(string from, string to)
    {
        var number = Fd.Number(directory);
        if (Libc.RenameAt(number, from, number, to) == -1 && Errno.Last != Errno.ENOENT)
        {
            throw Errno.Exception("rename", from);
        }
    }

    /// <summary>Whether there is a file, or anything else, of this name.</summary>
    internal bool Exists(string name) =>
        Libc.FAccessAt(Fd.Number(directory), name, Libc.F_OK, Libc.AT_SYMLINK_NOFOLLOW) == 0 || (Errno.Last == Errno.ENOENT ? false : throw Errno.Exception("access", name));

    /// <summary>Deletes a file; one that is not there is left out.</summary>
    internal void Delete(string name)
    {
        if (Libc.UnlinkAt(Fd.Number(directory), name, 0) == -1 && Errno.Last != Errno.ENOENT)
        {
            throw Errno.Exception("unlink", name);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => directory.Dispose();
}
