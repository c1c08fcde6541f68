namespace Shim.Stdio;

/// <summary>When a process without a terminal reads the end of its stdin FIFO, apart from an explicit CloseStdin.</summary>
internal enum StdinPolicy
{
    /// <summary>When a writer has been there and the last one has closed: a client that vanishes leaves no hung process.</summary>
    CloseWithLastWriter,

    /// <summary>Not before CloseStdin: writers may come and go.</summary>
    KeepOpen,
}
