using System.Diagnostics;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Processes;

namespace Supervisor.Daemon;

/// <summary>Makes this the only supervisor of its root. The kernel ends the lock with this process, however it ends.</summary>
internal sealed class RootLock : IDisposable
{
    // A supervisor that was killed in the middle of a spawn has a child that shares its descriptors, the lock too, until it has
    // become another program: a moment in which the owner is dead and the lock still held.
    private static readonly TimeSpan s_inheritedLimit = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_retry = TimeSpan.FromMilliseconds(5);

    private readonly SafeFileHandle _file;

    private RootLock(SafeFileHandle file) => _file = file;

    /// <summary>Takes the lock and writes our pid into its file, or refuses and names the one who has it.</summary>
    internal static RootLock Take(string path, string root)
    {
        var file = Fd.Open(path, Libc.O_RDWR | Libc.O_CREAT | Libc.O_NOFOLLOW, 0x180);
        var clock = Stopwatch.StartNew();
        while (Libc.Flock(Fd.Number(file), Libc.LOCK_EX | Libc.LOCK_NB) != 0)
        {
            var error = Errno.Exception("flock", path);
            var owner = Owner(file);
            if (error.Number != Errno.EAGAIN || IsAlive(owner) || clock.Elapsed > s_inheritedLimit)
            {
                file.Dispose();
                throw new StartRefusedException(
                    error.Number == Errno.EAGAIN ? $"another supervisor (pid {owner}) already serves {root}" : error.Message, error);
            }

            Thread.Sleep(s_retry);
        }

        try
        {
            RandomAccess.SetLength(file, 0);
            RandomAccess.Write(file, Encoding.ASCII.GetBytes(Environment.ProcessId.ToString(CultureInfo.InvariantCulture) + "\n"), 0);
        }
        catch (IOException)
        {
            // The disk is full. The lock is what counts; the number is for people.
        }

        return new RootLock(file);
    }

    private static string Owner(SafeFileHandle file)
    {
        var buffer = new byte[16];
        return Encoding.ASCII.GetString(buffer.AsSpan(0, RandomAccess.Read(file, buffer, 0))).Trim();
    }

    // An empty file is one whose owner has not yet come to write its pid.
    private static bool IsAlive(string owner) =>
        !int.TryParse(owner, CultureInfo.InvariantCulture, out var pid) || ProcFs.State(pid) is not (null or 'Z' or 'X');

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();
}
