namespace Shim.Transport.Ttrpc;

/// <summary>What a <see cref="TtrpcServer"/> needs of whoever runs it.</summary>
internal sealed record TtrpcServerOptions : ServerOptions
{
    /// <summary>What bounds each connection, and all of them together.</summary>
    internal TtrpcLimits Limits { get; init; } = new();
}
