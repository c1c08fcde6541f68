using System.Net.Sockets;
using Grpc.Core;

namespace Containerd;

/// <summary>The one table between <see cref="ErrorKind"/> and the status codes that gRPC and ttrpc share.</summary>
public static class ErrorKinds
{
    private static readonly (ErrorKind Kind, StatusCode Code)[] s_table =
    [
        (ErrorKind.Internal, StatusCode.Internal),
        (ErrorKind.NotFound, StatusCode.NotFound),
        (ErrorKind.AlreadyExists, StatusCode.AlreadyExists),
        (ErrorKind.InvalidArgument, StatusCode.InvalidArgument),
        (ErrorKind.Precondition, StatusCode.FailedPrecondition),
        (ErrorKind.DeadlineExceeded, StatusCode.DeadlineExceeded),
        (ErrorKind.Cancelled, StatusCode.Cancelled),
        (ErrorKind.Unavailable, StatusCode.Unavailable),
        (ErrorKind.Exhausted, StatusCode.ResourceExhausted),
        (ErrorKind.RuntimeFailed, StatusCode.Unknown),
        (ErrorKind.Unimplemented, StatusCode.Unimplemented),
    ];

    /// <summary>How the message begins with which a supervisor that is asked to stop answers whoever waits: the next one can be asked again.</summary>
    public const string SupervisorStops = "the supervisor is stopping";

    /// <summary>The status code that says <paramref name="kind"/> on the wire.</summary>
    public static StatusCode ToStatusCode(this ErrorKind kind)
    {
        foreach (var row in s_table)
        {
            if (row.Kind == kind)
            {
                return row.Code;
            }
        }

        throw new ArgumentOutOfRangeException(nameof(kind), kind, "an error kind without a status code");
    }

    /// <summary>The kind behind a status code that a peer sent; a code that we never send is <see cref="ErrorKind.Internal"/>.</summary>
    public static ErrorKind ToErrorKind(this StatusCode code)
    {
        foreach (var row in s_table)
        {
            if (row.Code == code)
            {
                return row.Kind;
            }
        }

        return ErrorKind.Internal;
    }

    /// <summary>
    /// What a server answers for an exception that escaped a handler. Everything that is not a <see cref="TaskException"/>, a
    /// cancellation, a deadline or a fault of the machine is our bug: the caller gets Internal with the message, and the server logs it.
    /// </summary>
    public static Status ToStatus(Exception exception) => exception switch
    {
        TaskException failure => new Status(failure.Kind.ToStatusCode(), failure.Message),
        RpcException rpc => rpc.Status,
        OperationCanceledException => new Status(StatusCode.Cancelled, "the call was cancelled"),
        TimeoutException timeout => new Status(StatusCode.DeadlineExceeded, timeout.Message),
        _ when OfMachine(exception) is { } kind => new Status(kind.ToStatusCode(), exception.Message),
        _ => new Status(StatusCode.Internal, $"{exception.GetType().Name}: {exception.Message}"),
    };

    /// <summary>
    /// What a fault of the machine is called, wherever it shows: something has run out (disk, descriptors, memory, processes), or a disk does
    /// not do what it is asked. Null for everything else.
    /// </summary>
    public static ErrorKind? OfMachine(Exception? exception) => exception switch
    {
        null => null,
        OutOfMemoryException => ErrorKind.Exhausted,
        SocketException socket => OfErrno(socket.NativeErrorCode) ?? OfMachine(socket.InnerException),

        // Without a better word .NET keeps the system's error number here; its own numbers are negative.
        IOException => OfErrno(exception.HResult) ?? OfMachine(exception.InnerException),
        _ => OfMachine(exception.InnerException),
    };

    private static ErrorKind? OfErrno(int errno)
    {
        const int EIO = 5, EAGAIN = 11, ENOMEM = 12, ENFILE = 23, EMFILE = 24, ENOSPC = 28, EROFS = 30, ENOBUFS = 105, EDQUOT = 122;
        return errno switch
        {
            // EAGAIN: of a spawn, because there are too many processes. Whatever else may answer it is asked again where it is called.
            EAGAIN or ENOMEM or ENFILE or EMFILE or ENOSPC or ENOBUFS or EDQUOT => ErrorKind.Exhausted,
            EIO or EROFS => ErrorKind.Unavailable,
            _ => null,
        };
    }

    /// <summary>Whether an exception is an expected answer (logged as such) rather than a bug (logged as an error).</summary>
    public static bool IsExpected(Exception exception) =>
        exception is TaskException { Kind: not ErrorKind.Internal } or RpcException or OperationCanceledException or TimeoutException
            || OfMachine(exception) is not null;
}
