namespace Shim.Transport.Ttrpc;

/// <summary>What bounds a connection. The README says why each is there and what happens at it.</summary>
internal sealed record TtrpcLimits
{
    /// <summary>Calls under way on one connection; one more is refused. High, because every caller that waits for an exit is one.</summary>
    internal int Calls { get; init; } = 4096;

    /// <summary>Calls with streams under way on one connection; one more is refused.</summary>
    internal int Streams { get; init; } = 256;

    /// <summary>Answers that wait to be written on one connection; at this number the connection is not read until they have gone.</summary>
    internal int WaitingAnswers { get; init; } = 64;

    /// <summary>Memory for all bodies that come in and are longer than <see cref="SmallBuffers.Size"/>, over all connections.</summary>
    internal long IncomingBytes { get; init; } = 16 << 20;

    /// <summary>Memory for all bodies that go out and are longer than <see cref="SmallBuffers.Size"/>, over all connections.</summary>
    internal long OutgoingBytes { get; init; } = 5 << 20;

    /// <summary>How long a peer may hold a part of that memory without a byte that moves; then its connection is dropped.</summary>
    internal TimeSpan Stall { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a connection is not read because a stream on it is full; then that stream is ended.</summary>
    internal TimeSpan FullStream { get; init; } = TimeSpan.FromSeconds(1);
}
