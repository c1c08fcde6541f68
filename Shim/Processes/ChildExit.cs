namespace Shim.Processes;

/// <summary>That a child has ended, and everything the kernel told its reaper.</summary>
/// <param name="Pid">The number that it had; from now on the kernel may give it to another process.</param>
/// <param name="Status">How it ended. Meaningless unless <paramref name="Known"/>.</param>
/// <param name="Known">False when the process had another parent, which alone learns the status.</param>
/// <param name="Time">When it was collected.</param>
/// <param name="Usage">What it used; zero unless <paramref name="Known"/>.</param>
internal sealed record ChildExit(int Pid, ExitStatus Status, bool Known, DateTimeOffset Time, ResourceUse Usage)
{
    /// <summary>The exit of a process whose status nobody here can know.</summary>
    internal static ChildExit Unknown(int pid) =>
        new(pid, new ExitStatus(ExitStatus.UnknownCode, 0, false), false, DateTimeOffset.UtcNow, default);
}

/// <summary>What wait4 reports of a child and of the children it waited for itself.</summary>
internal readonly record struct ResourceUse(ulong UserMicroseconds, ulong SystemMicroseconds, ulong MaxRssKib);
