using System.Runtime.InteropServices;
using Containerd.V1;
using Grpc.Core;
using Shim.Interop;

namespace Supervisor.Cli.Foreground;

/// <summary>Our terminal while it belongs to a process of a container: raw if we feed it, and its size is the process's.</summary>
internal sealed class ForegroundTerminal : IDisposable
{
    private readonly SupervisorClient _client;
    private readonly string _containerId;
    private PosixSignalRegistration? _sizeChanges;
    private RawTerminal? _raw;
    private uint _pid;

    internal ForegroundTerminal(SupervisorClient client, string containerId)
    {
        _client = client;
        _containerId = containerId;
    }

    /// <summary>The size of the terminal that a person looks at, or null when there is none.</summary>
    internal static (ushort Columns, ushort Rows)? Size => RawTerminal.SizeOf(1) ?? RawTerminal.SizeOf(0) ?? RawTerminal.SizeOf(2);

    /// <summary>
    /// Gives the terminal of process <paramref name="pid"/> (0 is init) our size, now, unless it is <paramref name="known"/> already, and
    /// whenever it changes.
    /// </summary>
    internal async Task FollowSizeAsync(uint pid, (ushort Columns, ushort Rows)? known, CancellationToken cancellationToken)
    {
        if (Size is null)
        {
            return;
        }

        _pid = pid;
        _sizeChanges = PosixSignalRegistration.Create(PosixSignal.SIGWINCH, OnSizeChange);
        if (Size is { } size && size != known)
        {
            await ResizeAsync(size, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Makes the process of a terminal that was there before us draw it once more: it does so when the size changes, and ours may be the one
    /// it has already.
    /// </summary>
    internal async Task RedrawAsync(uint pid, CancellationToken cancellationToken)
    {
        if (Size is { } size)
        {
            _pid = pid;
            await ResizeAsync((size.Columns, size.Rows == ushort.MaxValue ? size.Rows : (ushort)(size.Rows + 1)), cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Hands every key to the process, when our standard input is a terminal; false when it is none.</summary>
    internal bool EnterRaw()
    {
        if (!RawTerminal.IsTerminal(0))
        {
            return false;
        }

        var raw = RawTerminal.Enter(0);
        _raw = raw;

        // Whatever ends the program, an unhandled exception included: nobody should be left with a terminal that does not echo.
        AppDomain.CurrentDomain.ProcessExit += (_, _) => raw.Dispose();
        AppDomain.CurrentDomain.UnhandledException += (_, _) => raw.Dispose();
        return true;
    }

    public void Dispose()
    {
        _sizeChanges?.Dispose();
        _raw?.Dispose();
    }

    private void OnSizeChange(PosixSignalContext context)
    {
        if (Size is { } size)
        {
            _ = ResizeAsync(size, CancellationToken.None);
        }
    }

    private async Task ResizeAsync((ushort Columns, ushort Rows) size, CancellationToken cancellationToken)
    {
        try
        {
            var request = new ResizeConsoleRequest { ContainerId = _containerId, Pid = _pid, Width = size.Columns, Height = size.Rows };
            await _client.Supervisor.ResizeConsoleAsync(request, SupervisorClient.Read(cancellationToken)).ConfigureAwait(false);
        }
        catch (RpcException)
        {
            // The process has ended, or the supervisor is away: a terminal of the wrong size is no reason to end anything.
        }
    }
}
