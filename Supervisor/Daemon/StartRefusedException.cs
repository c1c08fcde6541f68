namespace Supervisor.Daemon;

/// <summary>Why the daemon does not start, in one line for the person who started it.</summary>
internal sealed class StartRefusedException(string message, Exception? inner = null) : Exception(message, inner);
