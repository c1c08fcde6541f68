namespace Supervisor.Cli;

/// <summary>A verb cannot do what it was asked: the cause, what the person can do about it, and the exit code.</summary>
internal sealed class CliException(string message, string? hint = null, int exitCode = ExitCodes.Failure) : Exception(message)
{
    /// <summary>What to try next, or null.</summary>
    internal string? Hint { get; } = hint;

    /// <summary>What the program exits with.</summary>
    internal int ExitCode { get; } = exitCode;
}
