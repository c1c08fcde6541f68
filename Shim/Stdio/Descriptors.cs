using Containerd;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Stdio;

/// <summary>What can be done with an open file by way of its descriptor, so that nobody can put another file in its place.</summary>
internal static class Descriptors
{
    /// <summary>
    /// A path that leads to the very file that is open: opening it gives a new open file (with its own flags), and inotify can
    /// watch it, even if its name is gone.
    /// </summary>
    internal static string PathOf(SafeFileHandle handle) => $"/proc/self/fd/{Fd.Number(handle)}";

    /// <summary>Opens the file behind <paramref name="handle"/> once more.</summary>
    internal static SafeFileHandle Reopen(SafeFileHandle handle, int flags) => Fd.Open(PathOf(handle), flags);

    /// <summary>Throws InvalidArgument if the open file is not what its path named when the address was checked.</summary>
    internal static void Require(SafeFileHandle handle, FileKind kind, string path)
    {
        if (Libc.KindOf(PathOf(handle)) != kind)
        {
            throw TaskException.Invalid($"cannot use \"{path}\" as a stream: it was replaced while it was opened");
        }
    }

    /// <summary>Opens the FIFO at <paramref name="path"/> as a mere reference: neither a reader nor a writer for the kernel.</summary>
    internal static SafeFileHandle OpenFifoReference(string path)
    {
        var reference = Fd.Open(path, Libc.O_PATH | Libc.O_NOFOLLOW);
        try
        {
            Require(reference, FileKind.Fifo, path);
            return reference;
        }
        catch
        {
            reference.Dispose();
            throw;
        }
    }
}
