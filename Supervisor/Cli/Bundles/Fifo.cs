using Mono.Unix.Native;

namespace Supervisor.Cli.Bundles;

/// <summary>Makes the FIFOs that a container's streams go through.</summary>
internal static class Fifo
{
    /// <summary>Makes a FIFO that only we may open.</summary>
    internal static void Make(string path)
    {
        if (Syscall.mkfifo(path, FilePermissions.S_IRUSR | FilePermissions.S_IWUSR) != 0)
        {
            throw new CliException($"cannot make the FIFO {path}: {Stdlib.strerror(Stdlib.GetLastError())}");
        }
    }
}
