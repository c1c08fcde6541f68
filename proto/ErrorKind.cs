namespace Containerd;

/// <summary>The one vocabulary of failure. Every refusal and every fault of shim and supervisor is one of these.</summary>
public enum ErrorKind
{
    /// <summary>Our own bug, or a fault of the machine that has no better name.</summary>
    Internal,

    /// <summary>No such container, process or file.</summary>
    NotFound,

    /// <summary>The id is in use.</summary>
    AlreadyExists,

    /// <summary>A value that can never be right: a malformed id, a broken config.json, an unknown signal.</summary>
    InvalidArgument,

    /// <summary>Right in another state: start twice, exec in a paused container.</summary>
    Precondition,

    /// <summary>Something that was waited for did not happen in time.</summary>
    DeadlineExceeded,

    /// <summary>The caller gave up.</summary>
    Cancelled,

    /// <summary>The shim cannot be reached.</summary>
    Unavailable,

    /// <summary>A limit was hit: message size, number of processes, descriptors, disk.</summary>
    Exhausted,

    /// <summary>The runtime failed and said why in its own words.</summary>
    RuntimeFailed,

    /// <summary>An RPC that this server does not have.</summary>
    Unimplemented,
}
