using System.Runtime.InteropServices;
using System.Text;
using Shim.Interop;

namespace Shim.Processes;

/// <summary>What to start, and with what. Everything that is not named here, the child does not get.</summary>
internal sealed class SpawnRequest
{
    /// <summary>Absolute path of the executable.</summary>
    internal required string Path { get; init; }

    /// <summary>The argument vector, the program's name first.</summary>
    internal required IReadOnlyList<string> Arguments { get; init; }

    /// <summary>The whole environment, as NAME=value.</summary>
    internal required IReadOnlyList<string> Environment { get; init; }

    /// <summary>Where the child starts; null is where we are.</summary>
    internal string? WorkingDirectory { get; init; }

    /// <summary>The child's descriptors 0 to 2.</summary>
    internal required SafeHandle Stdin { get; init; }

    /// <inheritdoc cref="Stdin"/>
    internal required SafeHandle Stdout { get; init; }

    /// <inheritdoc cref="Stdin"/>
    internal required SafeHandle Stderr { get; init; }

    /// <summary>The child's descriptors 3 and up, in this order.</summary>
    internal IReadOnlyList<SafeHandle> ExtraDescriptors { get; init; } = [];

    /// <summary>Start a session of its own (and with it a process group).</summary>
    internal bool NewSession { get; init; }

    /// <summary>What the child has blocked from its first instruction on.</summary>
    internal Libc.SignalSet BlockedSignals { get; init; }

    /// <summary>Start a process group of its own, so that it can be killed with its children.</summary>
    internal bool NewProcessGroup { get; init; }
}

/// <summary>
/// Starts processes with posix_spawn. Children start clean, whatever state we are in: default dispositions (the .NET runtime
/// ignores SIGPIPE, and that would be inherited), no signal blocked that was not asked for, and no descriptor of ours beyond those that were asked for
/// (also none that we ourselves inherited without close-on-exec). Forking in managed code is not an option: the child of a
/// multi-threaded process may only call async-signal-safe functions until it execs.
/// </summary>
internal static unsafe class Spawner
{
    // Larger than the glibc and musl types on every architecture (glibc x86-64: 80, 336 and 128 bytes).
    private const int FileActionsSize = 256;
    private const int AttributesSize = 512;
    private const int SignalSetSize = 128;

    /// <summary>Starts the child and returns its pid. A missing or forbidden executable throws at once, nothing is left behind.</summary>
    internal static int Spawn(SpawnRequest request)
    {
        var fileActions = stackalloc byte[FileActionsSize];
        var attributes = stackalloc byte[AttributesSize];
        var blocked = request.BlockedSignals;
        var allSignals = stackalloc byte[SignalSetSize];
        new Span<byte>(allSignals, SignalSetSize).Fill(0xff);

        using var strings = new NativeStrings(request);
        Check(Libc.FileActionsInit(fileActions), "posix_spawn_file_actions_init");
        Check(Libc.SpawnAttributesInit(attributes), "posix_spawnattr_init");
        var held = new List<SafeHandle>(3 + request.ExtraDescriptors.Count);
        try
        {
            PlaceDescriptors(fileActions, request, held);
            if (request.WorkingDirectory is not null)
            {
                Check(Libc.FileActionsAddChdir(fileActions, strings.WorkingDirectory), "posix_spawn_file_actions_addchdir_np");
            }

            var flags = (short)(Libc.POSIX_SPAWN_SETSIGDEF | Libc.POSIX_SPAWN_SETSIGMASK);
            if (request.NewSession)
            {
                flags |= Libc.POSIX_SPAWN_SETSID;
            }
            else if (request.NewProcessGroup)
            {
                flags |= Libc.POSIX_SPAWN_SETPGROUP;
                Check(Libc.SpawnAttributesSetProcessGroup(attributes, 0), "posix_spawnattr_setpgroup");
            }

            Check(Libc.SpawnAttributesSetFlags(attributes, flags), "posix_spawnattr_setflags");
            Check(Libc.SpawnAttributesSetSignalMask(attributes, (byte*)&blocked), "posix_spawnattr_setsigmask");
            Check(Libc.SpawnAttributesSetSignalDefault(attributes, allSignals), "posix_spawnattr_setsigdefault");

            int pid;
            var error = Libc.PosixSpawn(&pid, strings.Path, fileActions, attributes, strings.Arguments, strings.Environment);
            return error == 0 ? pid : throw new NativeException("start", error, request.Path);
        }
        finally
        {
            foreach (var handle in held)
            {
                handle.DangerousRelease();
            }

            _ = Libc.SpawnAttributesDestroy(attributes);
            _ = Libc.FileActionsDestroy(fileActions);
        }
    }

    private static void PlaceDescriptors(byte* fileActions, SpawnRequest request, List<SafeHandle> held)
    {
        List<SafeHandle> wanted = [request.Stdin, request.Stdout, request.Stderr, .. request.ExtraDescriptors];
        var sources = new int[wanted.Count];
        for (var i = 0; i < wanted.Count; i++)
        {
            var added = false;
            wanted[i].DangerousAddRef(ref added);
            held.Add(wanted[i]);
            sources[i] = (int)wanted[i].DangerousGetHandle();
        }

        // A source that lies on another one's target is moved out of the way first.
        var spare = Math.Max(64, sources.Max() + 1);
        for (var i = 0; i < sources.Length; i++)
        {
            if (sources[i] < sources.Length && sources[i] != i)
            {
                Check(Libc.FileActionsAddDup2(fileActions, sources[i], spare), "posix_spawn_file_actions_adddup2");
                sources[i] = spare++;
            }
        }

        for (var i = 0; i < sources.Length; i++)
        {
            // The same number on both sides clears close-on-exec (glibc does that for us).
            Check(Libc.FileActionsAddDup2(fileActions, sources[i], i), "posix_spawn_file_actions_adddup2");
        }

        Check(Libc.FileActionsAddCloseFrom(fileActions, sources.Length), "posix_spawn_file_actions_addclosefrom_np");
    }

    private static void Check(int error, string call)
    {
        if (error != 0)
        {
            throw new NativeException(call, error);
        }
    }

    /// <summary>All strings of a request as C strings and vectors, in one native block.</summary>
    private readonly ref struct NativeStrings
    {
        private readonly byte* _block;

        internal NativeStrings(SpawnRequest request)
        {
            var pointers = request.Arguments.Count + request.Environment.Count + 2;
            var bytes = SizeOf(request.Path) + SizeOf(request.WorkingDirectory ?? "");
            foreach (var text in request.Arguments)
            {
                bytes += SizeOf(text);
            }

            foreach (var text in request.Environment)
            {
                bytes += SizeOf(text);
            }

            _block = (byte*)NativeMemory.Alloc((nuint)((pointers * sizeof(byte*)) + bytes));
            var next = _block + (pointers * sizeof(byte*));
            Arguments = (byte**)_block;
            Environment = Arguments + request.Arguments.Count + 1;
            Fill(Arguments, request.Arguments, ref next);
            Fill(Environment, request.Environment, ref next);
            Path = Put(request.Path, ref next);
            WorkingDirectory = Put(request.WorkingDirectory ?? "", ref next);
        }

        internal byte** Arguments { get; }

        internal byte** Environment { get; }

        internal byte* Path { get; }

        internal byte* WorkingDirectory { get; }

        public void Dispose() => NativeMemory.Free(_block);

        private static int SizeOf(string text) => text.Contains('\0')
            ? throw new ArgumentException("an argument or environment variable contains a NUL byte")
            : Encoding.UTF8.GetByteCount(text) + 1;

        private static void Fill(byte** vector, IReadOnlyList<string> texts, ref byte* next)
        {
            for (var i = 0; i < texts.Count; i++)
            {
                vector[i] = Put(texts[i], ref next);
            }

            vector[texts.Count] = null;
        }

        private static byte* Put(string text, ref byte* next)
        {
            var start = next;
            next += Encoding.UTF8.GetBytes(text, new Span<byte>(next, Encoding.UTF8.GetByteCount(text)));
            *next++ = 0;
            return start;
        }
    }
}
