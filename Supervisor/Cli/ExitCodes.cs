using Containerd;
using Grpc.Core;

namespace Supervisor.Cli;

/// <summary>What the client verbs exit with when it is not a process's own status.</summary>
internal static class ExitCodes
{
    internal const int Success = 0;

    /// <summary>We failed: the daemon does not answer, it refused, or the command line is wrong.</summary>
    internal const int Failure = 125;

    /// <summary>The command was found and cannot be executed.</summary>
    internal const int NotExecutable = 126;

    /// <summary>The command was not found.</summary>
    internal const int NotFound = 127;

    /// <summary>A signal ended us before there was a status.</summary>
    internal static int Signalled(int signal) => 128 + signal;

    /// <summary>
    /// 126 or 127 when the runtime's message says that the command could not be executed or found, else 125. The runtime says it in
    /// text only: runc and crun both put the command behind "exec".
    /// </summary>
    internal static int OfRuntimeMessage(string message)
    {
        if (!message.Contains("exec", StringComparison.Ordinal))
        {
            return Failure;
        }

        // After the last "exec" stands the command and why it failed; before it, words of ours that may name other missing files.
        var cause = CauseAfterCommand(message);
        if (cause.Contains("executable file not found", StringComparison.Ordinal))
        {
            return NotFound;
        }

        if (cause.Contains("chdir", StringComparison.Ordinal) || cause.Contains("cwd", StringComparison.Ordinal))
        {
            return Failure;
        }

        if (cause.Contains("no such file or directory", StringComparison.OrdinalIgnoreCase))
        {
            return NotFound;
        }

        return cause.Contains("permission denied", StringComparison.OrdinalIgnoreCase)
            || cause.Contains("exec format error", StringComparison.OrdinalIgnoreCase)
            || cause.Contains("is a directory", StringComparison.OrdinalIgnoreCase)
            || cause.Contains("not a directory", StringComparison.OrdinalIgnoreCase)
            ? NotExecutable
            : Failure;
    }

    /// <summary>The exit code for a call that failed while a command was to be started.</summary>
    internal static int OfStart(RpcException failure) =>
        failure.StatusCode.ToErrorKind() is ErrorKind.Unavailable or ErrorKind.DeadlineExceeded or ErrorKind.AlreadyExists
            ? Failure
            : OfRuntimeMessage(failure.Status.Detail);

    private static string CauseAfterCommand(string message)
    {
        foreach (var marker in (string[])["exec: ", "exec \"", "exec '", "exec "])
        {
            if (message.IndexOf(marker, StringComparison.Ordinal) is >= 0 and var at)
            {
                return message[at..];
            }
        }

        return message;
    }
}
