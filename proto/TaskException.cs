namespace Containerd;

/// <summary>
/// A failure that has a <see cref="ErrorKind"/>. The message is for the caller: what was tried, on what, and the cause below it,
/// in lower case and without a full stop, because clients print it after words of their own.
/// </summary>
public sealed class TaskException : Exception
{
    /// <summary>A failure of <paramref name="kind"/>, with a message for the caller.</summary>
    public TaskException(ErrorKind kind, string message, Exception? inner = null)
        : base(message, inner) => Kind = kind;

    /// <summary>A failure without a message.</summary>
    public TaskException()
    {
    }

    /// <summary>An <see cref="ErrorKind.Internal"/> failure.</summary>
    public TaskException(string message)
        : base(message)
    {
    }

    /// <summary>An <see cref="ErrorKind.Internal"/> failure with a cause.</summary>
    public TaskException(string message, Exception inner)
        : base(message, inner)
    {
    }

    /// <summary>What kind of failure this is; it decides the status code on every wire.</summary>
    public ErrorKind Kind { get; }

    public static TaskException NotFound(string message) => new(ErrorKind.NotFound, message);

    public static TaskException AlreadyExists(string message) => new(ErrorKind.AlreadyExists, message);

    public static TaskException Invalid(string message, Exception? inner = null) => new(ErrorKind.InvalidArgument, message, inner);

    public static TaskException Precondition(string message) => new(ErrorKind.Precondition, message);

    public static TaskException Timeout(string message) => new(ErrorKind.DeadlineExceeded, message);

    public static TaskException Unavailable(string message, Exception? inner = null) => new(ErrorKind.Unavailable, message, inner);
}
