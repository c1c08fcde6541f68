using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Stdio;

/// <summary>The pipe between a process and this one, for output that passes through here.</summary>
internal static class RelayPipe
{
    private static readonly SafeFileHandle s_none = new(-1, ownsHandle: false);

    /// <summary>What the kernel calls a pipe, such as <c>pipe:[4711]</c>: the same in everybody's /proc.</summary>
    internal static string NameOf(SafeFileHandle end) => new FileInfo(Descriptors.PathOf(end)).LinkTarget ?? "";

    /// <summary>
    /// The reading end of a pipe that a process of a container was given by a shim that is no more; with no writing end, for that is theirs. Null when
    /// nobody has it open any more.
    /// </summary>
    /// <param name="name">As <see cref="NameOf"/> said.</param>
    /// <param name="pids">The container's processes.</param>
    internal static (SafeFileHandle Reader, SafeFileHandle Writer)? TryFind(string name, IEnumerable<int> pids)
    {
        foreach (var pid in name.Length > 0 ? pids : [])
        {
            try
            {
                foreach (var descriptor in Directory.EnumerateFileSystemEntries($"/proc/{pid}/fd"))
                {
                    if (new FileInfo(descriptor).LinkTarget == name)
                    {
                        return (Fd.Open(descriptor, Libc.O_RDONLY | Libc.O_NONBLOCK), s_none);
                    }
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It has ended, or closed what we were looking at.
            }
        }

        return null;
    }

    /// <summary>
    /// A pipe whose reading end does not block. A process gets its end open for reading too: as its own last reader it is spared SIGPIPE when
    /// this process dies, and waits for a successor instead.
    /// </summary>
    /// <param name="forProcess">Whether the writing end is for a process, and blocks; else it is for a relay, and does not.</param>
    internal static (SafeFileHandle Reader, SafeFileHandle Writer) Open(bool forProcess)
    {
        var (reader, writer) = Libc.Pipe();
        try
        {
            Fd.SetNonBlocking(reader, true);
            if (!forProcess)
            {
                Fd.SetNonBlocking(writer, true);
                return (reader, writer);
            }

            var both = Descriptors.Reopen(writer, Libc.O_RDWR);
            writer.Dispose();
            return (reader, both);
        }
        catch
        {
            reader.Dispose();
            writer.Dispose();
            throw;
        }
    }
}
