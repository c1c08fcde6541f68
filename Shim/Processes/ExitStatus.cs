namespace Shim.Processes;

/// <summary>How a process ended, decoded from the status word of wait(2).</summary>
/// <param name="Code">The exit code, or 128 + signal.</param>
/// <param name="Signal">The signal that ended it, 0 when it exited by itself.</param>
/// <param name="CoreDumped">Whether a core was dumped.</param>
internal readonly record struct ExitStatus(int Code, int Signal, bool CoreDumped)
{
    /// <summary>What is reported when the process has gone and nobody could collect its status. Never 0.</summary>
    internal const int UnknownCode = 255;

    /// <summary>Decodes a wait status word: low 7 bits the signal, bit 7 the core flag, the next 8 the exit code.</summary>
    internal static ExitStatus FromWaitStatus(int status)
    {
        var signal = status & 0x7f;
        return signal == 0
            ? new ExitStatus((status >> 8) & 0xff, 0, false)
            : new ExitStatus(128 + signal, signal, (status & 0x80) != 0);
    }
}
