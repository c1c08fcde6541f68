using System.Diagnostics;
using Containerd;
using Containerd.Shim.V1;
using Grpc.Net.Client;
using Shim.Tests.Support;
using Process = System.Diagnostics.Process;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Shim.Tests.Transport;

/// <summary>A shim that a test starts, watches and ends itself, for what happens at the beginning and at the end of its life.</summary>
internal sealed class ShimProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly Task<string> _errors;
    private readonly Task<string> _output;
    private readonly GrpcChannel _channel;

    private ShimProcess(string directory, string[] starter, string[] arguments)
    {
        // A run in the background of a script ignores SIGINT, and its children would inherit that.
        string[] command = ["env", "--default-signal=INT", .. starter, Path.Combine(TestRun.Binaries, "shim"), .. arguments];
        var start = new ProcessStartInfo(command[0], command[1..]) { WorkingDirectory = directory, RedirectStandardError = true, RedirectStandardOutput = true };
        Socket = Path.Combine(directory, "shim.sock");
        _process = Process.Start(start)!;
        _errors = _process.StandardError.ReadToEndAsync();
        _output = _process.StandardOutput.ReadToEndAsync();
        _channel = UnixChannel.Open(Socket);
        Client = new ShimContract.ShimClient(_channel);
    }

    internal string Socket { get; }

    internal ShimContract.ShimClient Client { get; }

    internal int Id => _process.Id;

    /// <summary>Starts whatever the arguments say.</summary>
    internal static ShimProcess Start(string directory, params string[] arguments) => StartUnder([], directory, arguments);

    /// <summary>As <see cref="Start"/>, by another program that ends in an exec of its further arguments.</summary>
    internal static ShimProcess StartUnder(string[] starter, string directory, params string[] arguments)
    {
        Machine.RequireContainers();
        return new ShimProcess(directory, starter, arguments);
    }

    /// <summary>Until the shim answers on its socket.</summary>
    internal Task AnswersAsync() => Poll.Until(
        async () => (await Client.InfoAsync(new InfoRequest(), deadline: DateTime.UtcNow.AddSeconds(5))).Pid == Id, Poll.Deadline, "the shim answers");

    /// <summary>Its exit code and what it printed.</summary>
    internal async Task<(int Code, string Errors, string Output)> EndAsync()
    {
        await _process.WaitForExitAsync().WithinAsync(Poll.Deadline, "the shim's end");
        return (_process.ExitCode, await _errors.WithinAsync(Poll.Deadline, "its stderr"), await _output.WithinAsync(Poll.Deadline, "its stdout"));
    }

    internal void Signal(Mono.Unix.Native.Signum signal) => _ = Mono.Unix.Native.Syscall.kill(Id, signal);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _channel.Dispose();
        if (!_process.HasExited)
        {
            _process.Kill();
            await _process.WaitForExitAsync().WithinAsync(Poll.Deadline, "the shim's end after SIGKILL");
        }

        _process.Dispose();
    }
}
