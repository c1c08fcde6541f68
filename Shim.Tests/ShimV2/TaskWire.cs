namespace Shim.Tests.ShimV2;

/// <summary>The ways in which a shim can be asked.</summary>
public enum TaskWire
{
    /// <summary>Version 2 of the task API over ttrpc.</summary>
    TtrpcV2,

    /// <summary>Version 3 over ttrpc.</summary>
    TtrpcV3,

    /// <summary>Version 3 over gRPC.</summary>
    GrpcV3,
}
