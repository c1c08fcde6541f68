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

    /// <summary>Gives the terminal of process <paramref name="pid"/> (0 is init) our size, now and whenever it changes.</summary>
    internal async Task FollowSizeAsync(uint pid, CancellationToken cancellationToken)
    {
        if (Size is null)
        {
            return;
        }

        _pid = pid;
        _sizeChanges = PosixSignalRegistration.Create(PosixSignal.SIGWINCH, OnSizeChange);
        await ResizeAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Hands every key to the process, when our standard input is a terminal.</summary>
    internal void EnterRaw()
    {
        if (!RawTerminal.IsTerminal(0))
        {
            return;
        }

        var raw = RawTerminal.Enter(0);
        _raw = raw;

        // Whatever ends the program, an unhandled exception included: nobody should be left with a terminal that does not echo.
        AppDomain.CurrentDomain.ProcessExit += (_, _) => raw.Dispose();
        AppDomain.CurrentDomain.UnhandledException += (_, _) => raw.Dispose();
    }

    public void Dispose()
    {
        _sizeChanges?.Dispose();
        _raw?.Dispose();
    }

    private void OnSizeChange(PosixSignalContext context) => _ = ResizeAsync(CancellationToken.None);

    private async Task ResizeAsync(CancellationToken cancellationToken)
    {
        if (Size is not { } size)
        {
            return;
        }

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
