using System.Net.Sockets;
using Containerd;
using Grpc.Core;
using Shim.Interop;
using Supervisor.Cli.Output;

namespace Supervisor.Cli;

/// <summary>Turns what a verb threw into one line on stderr, perhaps a second one with a hint, and an exit code.</summary>
internal static class Failures
{
    /// <summary>Reports <paramref name="failure"/> of <paramref name="what"/>; null when it is a bug of ours that should be seen whole.</summary>
    internal static int? Report(Exception failure, string what, string socket, string hintWhenUnreachable, CliConsole console)
    {
        if (failure is NativeException { Number: Errno.EPIPE })
        {
            // Whoever read our output has gone, as in `supervisor list | head`: end as a program that SIGPIPE ends, without a word.
            return ExitCodes.Signalled(13);
        }

        var (message, hint, exitCode) = failure switch
        {
            CliException ours => (ours.Message, ours.Hint, ours.ExitCode),
            RpcException rpc => Describe(rpc, socket, hintWhenUnreachable),
            TaskException task => (task.Message, null, ExitCodes.Failure),
            IOException or UnauthorizedAccessException => (Decapitalised(failure.Message), null, ExitCodes.Failure),
            OperationCanceledException => ("interrupted", null, ExitCodes.Failure),
            _ => ((string?)null, (string?)null, ExitCodes.Failure),
        };
        if (message is null)
        {
            return null;
        }

        console.Error.WriteLine($"supervisor: {what}: {OneLine(message)}");
        if (hint is not null)
        {
            console.Error.WriteLine($"hint: {hint}");
        }

        return exitCode;
    }

    private static (string Message, string? Hint, int ExitCode) Describe(RpcException failure, string socket, string hintWhenUnreachable)
    {
        if (ConnectError(failure) is { } error)
        {
            return error switch
            {
                SocketError.AccessDenied => ($"cannot open {socket}: permission denied", "it serves its own user only: are you root?", ExitCodes.Failure),
                SocketError.ConnectionRefused => ($"nobody serves {socket}: whoever did has stopped", hintWhenUnreachable, ExitCodes.Failure),
                _ => ($"nobody serves {socket}: {Reason(failure)}", hintWhenUnreachable, ExitCodes.Failure),
            };
        }

        if (IsConnectionLost(failure))
        {
            return ($"the connection to {socket} was lost", hintWhenUnreachable, ExitCodes.Failure);
        }

        var detail = failure.Status.Detail.Length > 0 ? failure.Status.Detail : failure.StatusCode.ToString();
        return failure.StatusCode switch
        {
            StatusCode.DeadlineExceeded when failure.Status.Detail.Length == 0 => ($"no answer from {socket} in time", null, ExitCodes.Failure),
            StatusCode.Unimplemented => ($"the server at {socket} does not have this call", "is it a shim's socket, or an older supervisor?", ExitCodes.Failure),
            _ => (detail, null, ExitCodes.Failure),
        };
    }

    /// <summary>Why no connection came about, or null when there was one.</summary>
    internal static SocketError? ConnectError(RpcException failure)
    {
        for (var cause = failure.Status.DebugException; cause is not null; cause = cause.InnerException)
        {
            if (cause is SocketException { SocketErrorCode: not (SocketError.ConnectionReset or SocketError.Shutdown or SocketError.OperationAborted) } socket)
            {
                return socket.SocketErrorCode;
            }
        }

        return null;
    }

    /// <summary>
    /// Whether no answer came because there was no connection, or none any more. What the supervisor itself answers, about a shim that is
    /// lost for example, carries no exception of ours.
    /// </summary>
    internal static bool IsConnectionLost(RpcException failure)
    {
        for (var cause = failure.Status.DebugException; cause is not null; cause = cause.InnerException)
        {
            if (cause is HttpRequestException or IOException or SocketException)
            {
                return true;
            }
        }

        return false;
    }

    private static string Reason(RpcException failure)
    {
        for (var cause = failure.Status.DebugException; cause is not null; cause = cause.InnerException)
        {
            if (cause is SocketException socket)
            {
                return socket.SocketErrorCode is SocketError.AddressNotAvailable ? "no such file or directory" : Decapitalised(socket.Message);
            }
        }

        return failure.Status.Detail;
    }

    private static string Decapitalised(string message) =>
        message.Length > 1 && char.IsUpper(message[0]) && char.IsLower(message[1]) ? char.ToLowerInvariant(message[0]) + message[1..].TrimEnd('.') : message.TrimEnd('.');

    private static string OneLine(string message) => string.Join("; ", message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
}
