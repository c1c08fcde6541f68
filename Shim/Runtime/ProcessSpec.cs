namespace Shim.Runtime;

/// <summary>What a process is started with, as far as clients want to know it.</summary>
internal sealed record ProcessSpec(
    IReadOnlyList<string> Args,
    IReadOnlyList<string> Env,
    string Cwd,
    uint Uid,
    uint Gid,
    IReadOnlyList<uint> AdditionalGids,
    bool Terminal);

/// <summary>What a caller asks for when he adds a process. What is null or empty comes from the bundle's process.</summary>
internal sealed record ExecSpec
{
    /// <summary>The whole process object as JSON, instead of the fields below: nothing comes from the bundle's then.</summary>
    internal ReadOnlyMemory<byte>? Process { get; init; }

    internal IReadOnlyList<string> Args { get; init; } = [];

    /// <summary>Appended to the bundle's environment; a later value of the same name wins.</summary>
    internal IReadOnlyList<string> Env { get; init; } = [];

    internal string Cwd { get; init; } = "";

    internal ExecUser? User { get; init; }

    internal IReadOnlyList<string> Capabilities { get; init; } = [];

    internal IReadOnlyList<ExecRlimit> Rlimits { get; init; } = [];

    internal bool NoNewPrivileges { get; init; }

    internal string SelinuxLabel { get; init; } = "";

    internal string ApparmorProfile { get; init; } = "";

    internal bool Terminal { get; init; }

    /// <summary>The size of its terminal from the first byte on; null leaves that to the kernel.</summary>
    internal (ushort Columns, ushort Rows)? ConsoleSize { get; init; }
}

internal sealed record ExecUser(uint Uid, uint Gid, IReadOnlyList<uint> AdditionalGids);

internal sealed record ExecRlimit(string Type, ulong Hard, ulong Soft);
