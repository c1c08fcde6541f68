using System.Runtime.InteropServices;
using Containerd;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;
using Shim.Processes;
using Shim.Stdio.Loggers;
using Shim.Stdio.Logs;

namespace Shim.Stdio;

/// <summary>
/// The streams of one process, from before it exists until it is deleted. FIFOs and files are opened here and handed to the runtime as
/// they are, so that no byte passes through this process; only terminals, logs and loggers are served here.
/// </summary>
internal sealed class ProcessStreams : IDisposable
{
    // How often an output is looked at during a drain when no watch could be had for it.
    private static readonly TimeSpan s_recheck = TimeSpan.FromMilliseconds(50);

    private readonly SafeFileHandle? _null;
    private readonly TerminalRelay? _terminal;
    private readonly InputSource? _stdin;
    private readonly OutputSink _stdout;
    private readonly OutputSink? _stderr;

    private readonly StreamServices _services;
    private readonly IReadOnlyList<Logger> _loggers;
    private readonly StreamAddresses _addresses;

    private ProcessStreams(StreamServices services, InputSource stdin, Outputs outputs, StreamAddresses addresses) =>
        (_services, _stdin, _stdout, _stderr, _loggers, _addresses) = (services, stdin, outputs.Stdout!, outputs.Stderr, outputs.Loggers, addresses);

    private ProcessStreams(
        StreamServices services, InputSource? stdin, Outputs outputs, StreamAddresses addresses, StreamAddress output, SafeFileHandle nullDevice)
        : this(services, stdin!, outputs, addresses)
    {
        _null = nullDevice;
        ConsoleSize = output.ConsoleSize;
        _terminal = new TerminalRelay(services.Loop, stdin, _stdout, output.Given, ConsoleSize);
    }

    /// <summary>How large the terminal is to be from its first byte on, if the client said so.</summary>
    internal (ushort Columns, ushort Rows)? ConsoleSize { get; }

    /// <summary>Where the bytes come from and go to, as they were given.</summary>
    internal StreamAddresses Addresses => _addresses;

    /// <summary>Whether the process has a terminal.</summary>
    internal bool HasTerminal => _terminal is not null;

    /// <summary>What the runtime gets as descriptor 0. It blocks, like everything that a container's process gets.</summary>
    internal SafeHandle ChildStdin => _null ?? _stdin!.Reader;

    /// <summary>What the runtime gets as descriptor 1.</summary>
    internal SafeHandle ChildStdout => _null ?? _stdout.Writer;

    /// <summary>What the runtime gets as descriptor 2.</summary>
    internal SafeHandle ChildStderr => _null ?? _stderr!.Writer;

    /// <summary>
    /// Checks and opens all addresses without ever waiting for a peer. Throws InvalidArgument for an address that cannot be used, and
    /// then leaves nothing open.
    /// </summary>
    /// <param name="addresses">As the client gave them.</param>
    /// <param name="services">What streams stand on.</param>
    /// <param name="containerId">For loggers, which are told.</param>
    /// <param name="stdinPolicy">When a FIFO as stdin ends.</param>
    internal static ProcessStreams Open(
        StreamAddresses addresses, StreamServices services, string containerId = "", StdinPolicy stdinPolicy = StdinPolicy.CloseWithLastWriter) =>
        addresses.Terminal ? OpenTerminal(addresses, services, containerId) : OpenPlain(addresses, services, containerId, stdinPolicy);

    /// <summary>What leads a successor of this shim back to the process with this pid, which has not been collected, and to its streams.</summary>
    internal ProcessTrace TraceOf(int pid) => new(ProcFs.StartTime(pid) ?? 0, _addresses, _stdout.PipeName, _stderr?.PipeName ?? "");

    /// <summary>Starts the loggers, if there are any, and waits until they are ready. To be called before the process can write.</summary>
    internal Task StartLoggersAsync(CancellationToken cancellationToken) =>
        _loggers.Count == 0 ? Task.CompletedTask : Task.WhenAll(_loggers.Select(logger => logger.StartAsync(cancellationToken)));

    /// <summary>
    /// One more client: copies of the output from now on, and for a terminal the right to type. FailedPrecondition where the bytes do not pass
    /// through this process, or have ended.
    /// </summary>
    internal async Task AttachAsync(string stdin, string stdout, string stderr)
    {
        var input = ClientAddress("stdin", stdin);
        var output = ClientAddress("stdout", stdout);
        var errors = ClientAddress("stderr", stderr);
        if (_terminal is null ? input is not null : errors is not null)
        {
            throw _terminal is null
                ? TaskException.Invalid("cannot attach stdin to a process without a terminal: write to the FIFO that is its stdin")
                : TaskException.Invalid("cannot attach stderr to a terminal: it has one output only");
        }

        if (_terminal is not null)
        {
            var source = input is null ? null : OpenInput(input, blocking: false, StdinPolicy.KeepOpen, _services.Loop);
            try
            {
                if (!await TryAsync(output, () => _terminal.AttachClientAsync(source, output)).ConfigureAwait(false))
                {
                    throw TaskException.Precondition("cannot attach to a terminal that is closed");
                }
            }
            catch
            {
                source?.Dispose();
                throw;
            }

            return;
        }

        if ((output is not null && _stdout.Attached is null) || (errors is not null && _stderr!.Attached is null))
        {
            throw TaskException.Precondition("cannot attach: the output goes to its FIFO or file directly, and does not pass through the shim");
        }

        if ((output is not null && !await TryAsync(output, () => _stdout.Attached!.AddAsync(output)).ConfigureAwait(false))
            || (errors is not null && !await TryAsync(errors, () => _stderr!.Attached!.AddAsync(errors)).ConfigureAwait(false)))
        {
            throw TaskException.Precondition("cannot attach: the output has ended");
        }
    }

    /// <summary>Lets go of a client who leaves on purpose. False when there is none with this stdout address.</summary>
    internal async Task<bool> DetachAsync(string stdout)
    {
        if (stdout.Length == 0)
        {
            return false;
        }

        if (_terminal is not null)
        {
            return await _terminal.DetachClientAsync(stdout).ConfigureAwait(false);
        }

        if (_stdout is OutputFifo fifo && fifo.Address.Given == stdout)
        {
            fifo.Discard();
            (_stderr as OutputFifo)?.Discard();
            return true;
        }

        return _stdout.Attached is { } attached && await attached.RemoveAsync(stdout).ConfigureAwait(false);
    }

    /// <summary>While CRIU reads the process back, nobody's leaving is the end of its stdin.</summary>
    internal void UnwatchStdin() => _stdin?.Unwatch();

    /// <summary>Undoes <see cref="UnwatchStdin"/>.</summary>
    internal void WatchStdin() => _stdin?.Watch();

    /// <summary>
    /// Gives the files and pipes that were made for the process to its user, so that it can open <c>/dev/stdout</c> and <c>/dev/stderr</c> anew. FIFOs
    /// are their makers' business. To be called before the runtime runs.
    /// </summary>
    internal void GiveTo(uint user, uint group)
    {
        foreach (var output in new[] { _stdout, _stderr })
        {
            if (_terminal is null && output is { IsOurs: true } && Libc.FChown(Fd.Number(output.Writer), user, group) == -1)
            {
                // It can still write to what it was given.
                _services.Loop.Log($"an output cannot be given to user {user}: {Errno.Exception("fchown").Message}");
            }
        }
    }

    /// <summary>Closes our copies of what the process has. To be called when the runtime has ended, well or not.</summary>
    internal void ReleaseChildEnds()
    {
        if (_terminal is not null)
        {
            _null!.Dispose();
            _stderr?.ReleaseWriter();
            return;
        }

        _stdin!.ReleaseReader();
        _stdout.ReleaseWriter();
        _stderr!.ReleaseWriter();
    }

    /// <summary>Takes over the terminal's master, which the runtime has sent, and starts to relay.</summary>
    internal void AttachTerminal(SafeFileHandle master)
    {
        if (_terminal is null)
        {
            master.Dispose();
            throw TaskException.Precondition("cannot attach a terminal to a process that has none");
        }

        _terminal.Attach(master);
    }

    /// <summary>Sets the terminal's size. It is remembered if the terminal does not exist yet.</summary>
    internal void Resize(int width, int height)
    {
        if (_terminal is null)
        {
            throw TaskException.Precondition("cannot resize the terminal of a process that has none");
        }

        if (width is < 0 or > ushort.MaxValue || height is < 0 or > ushort.MaxValue)
        {
            throw TaskException.Invalid($"cannot resize a terminal to {width}x{height}: each must be from 0 to {ushort.MaxValue}");
        }

        if (!_terminal.Resize((ushort)width, (ushort)height))
        {
            throw TaskException.Precondition("cannot resize a terminal that is closed");
        }
    }

    /// <summary>
    /// The process reads the end of its input when everything written so far has been read and all clients have closed. A terminal gets the
    /// end-of-file character then. Calling it again changes nothing.
    /// </summary>
    internal void CloseStdin()
    {
        if (_terminal is not null)
        {
            _terminal.EndInput();
        }
        else
        {
            _stdin!.End();
        }
    }

    /// <summary>
    /// The process has exited: clients shall see the end of the outputs, as soon as nobody else writes to them and no byte can be lost.
    /// Never blocks.
    /// </summary>
    internal void ProcessExited()
    {
        if (_terminal is not null)
        {
            _terminal.ProcessExited();
            _stderr?.End();
            return;
        }

        _stdin!.Dispose();
        _stdout.End();
        _stderr!.End();
    }

    /// <summary>
    /// Waits, no longer than <paramref name="limit"/>, until what the process has written is delivered: read, or in the hands of a
    /// reader. Then closes everything. A background child that still holds an output is not waited for.
    /// </summary>
    internal async Task DrainAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        ProcessExited();
        _terminal?.Drain();
        var delivered = Task.WhenAll(_terminal?.Finished ?? Task.CompletedTask, _stdout.Delivered, _stderr?.Delivered ?? Task.CompletedTask);
        var deadline = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        try
        {
            while (!delivered.IsCompleted && deadline - Environment.TickCount64 is > 0 and var left)
            {
                var turn = TimeSpan.FromMilliseconds(Math.Min(left, s_recheck.TotalMilliseconds));
                await Task.WhenAny(delivered, Clock.DelayAsync(turn, cancellationToken)).ConfigureAwait(false);
                cancellationToken.ThrowIfCancellationRequested();
                _stdout.Recheck();
                _stderr?.Recheck();
            }
        }
        finally
        {
            Dispose();
        }
    }

    /// <summary>Closes everything at once, delivered or not.</summary>
    public void Dispose()
    {
        if (_terminal is not null)
        {
            _null!.Dispose();
            _stderr?.Dispose();
            _terminal.Close();
            return;
        }

        _stdin!.Dispose();
        _stdout.Dispose();
        _stderr!.Dispose();
    }

    /// <summary>
    /// The streams of a process that was started by a shim which is no more. The process has its ends still; here is opened again what stands
    /// behind them. What cannot be had again is left out: nobody is harmed by that as much as by an adoption that fails.
    /// </summary>
    /// <param name="trace">What the other shim wrote down.</param>
    /// <param name="pids">The container's processes, who have the pipes.</param>
    /// <param name="services">What streams stand on.</param>
    /// <param name="containerId">For loggers.</param>
    internal static ProcessStreams Adopt(ProcessTrace trace, IReadOnlyList<int> pids, StreamServices services, string containerId)
    {
        // A terminal was hung up when the shim that held it ended.
        var addresses = trace.Streams.Terminal ? new StreamAddresses("", "", "", false) : trace.Streams;
        var outputs = new Outputs(stream => RelayPipe.TryFind(stream == LogStream.Stdout ? trace.StdoutPipe : trace.StderrPipe, pids));
        InputSource? stdin = null;
        try
        {
            stdin = OpenInput(StreamAddress.Parse("stdin", addresses.Stdin), blocking: true, StdinPolicy.CloseWithLastWriter, services.Loop);
            outputs.Open(StreamAddress.Parse("stdout", addresses.Stdout), StreamAddress.Parse("stderr", addresses.Stderr), blocking: true, containerId, services);
        }
        catch (TaskException e)
        {
            services.Loop.Log($"streams of an adopted process are left alone: {e.Message}");
            stdin?.Dispose();
            outputs.Dispose();
            outputs = new Outputs();
            stdin = OpenInput(StreamAddress.Parse("stdin", ""), blocking: true, StdinPolicy.KeepOpen, services.Loop);
            outputs.Open(StreamAddress.Parse("stdout", ""), StreamAddress.Parse("stderr", ""), blocking: true, containerId, services);
        }

        var streams = new ProcessStreams(services, stdin, outputs, trace.Streams);
        streams.ReleaseChildEnds();
        return streams;
    }

    private static ProcessStreams OpenPlain(StreamAddresses addresses, StreamServices services, string containerId, StdinPolicy stdinPolicy)
    {
        InputSource? stdin = null;
        var outputs = new Outputs();
        try
        {
            stdin = OpenInput(StreamAddress.Parse("stdin", addresses.Stdin), blocking: true, stdinPolicy, services.Loop);
            var stdout = StreamAddress.Parse("stdout", addresses.Stdout);
            var stderr = StreamAddress.Parse("stderr", addresses.Stderr);
            outputs.Open(stdout, stderr, blocking: true, containerId, services);
            return new ProcessStreams(services, stdin, outputs, addresses);
        }
        catch
        {
            stdin?.Dispose();
            outputs.Dispose();
            throw;
        }
    }

    private static ProcessStreams OpenTerminal(StreamAddresses addresses, StreamServices services, string containerId)
    {
        InputSource? stdin = null;
        var outputs = new Outputs();
        SafeFileHandle? nullDevice = null;
        try
        {
            // Nothing to type, as opposed to an end that would be typed at once. And a client that leaves does not end a terminal's input.
            var input = StreamAddress.Parse("stdin", addresses.Stdin);
            stdin = input.Kind == StreamKind.Null ? null : OpenInput(input, blocking: false, StdinPolicy.KeepOpen, services.Loop);

            // Everything comes through the terminal. But a client that reads a FIFO for errors too waits for its end.
            var output = StreamAddress.Parse("stdout", addresses.Stdout);
            var errors = StreamAddress.Parse("stderr", addresses.Stderr);
            outputs.Open(output, errors.Kind == StreamKind.Fifo ? errors : null, blocking: false, containerId, services);
            nullDevice = OpenNull();

            // A relay that could not start should be known before there is a process.
            services.Loop.Start();
            return new ProcessStreams(services, stdin, outputs, addresses, output, nullDevice);
        }
        catch (NativeException e)
        {
            Release();
            throw new TaskException(ErrorKind.Exhausted, $"cannot relay a terminal: {e.Message}", e);
        }
        catch
        {
            Release();
            throw;
        }

        void Release()
        {
            stdin?.Dispose();
            outputs.Dispose();
            nullDevice?.Dispose();
        }
    }

    private static InputSource OpenInput(StreamAddress address, bool blocking, StdinPolicy policy, EventLoop loop)
    {
        try
        {
            return InputSource.Open(address, blocking, policy, loop);
        }
        catch (NativeException e)
        {
            throw address.Failure(e);
        }
    }

    /// <summary>The address of a client who attaches himself: a FIFO, or null for an empty one.</summary>
    private static StreamAddress? ClientAddress(string stream, string address)
    {
        var parsed = StreamAddress.Parse(stream, address);
        return parsed.Kind switch
        {
            StreamKind.Null => null,
            StreamKind.Fifo => parsed,
            _ => throw parsed.Refusal("only FIFOs can be attached"),
        };
    }

    private static async Task<bool> TryAsync(StreamAddress? address, Func<Task<bool>> attach)
    {
        try
        {
            return await attach().ConfigureAwait(false);
        }
        catch (NativeException e) when (address is not null)
        {
            throw address.Failure(e);
        }
    }

    private static SafeFileHandle OpenNull() => Fd.Open("/dev/null", Libc.O_RDWR);

    /// <summary>Two outputs, while they are opened: what is there already is closed again when the next one fails.</summary>
    /// <param name="pipes">Finds the pipes that a process has already, for one that is adopted; where it has none, they are made.</param>
    private sealed class Outputs(Func<LogStream, (SafeFileHandle Reader, SafeFileHandle Writer)?>? pipes = null) : IDisposable
    {
        internal OutputSink? Stdout { get; private set; }

        internal OutputSink? Stderr { get; private set; }

        internal List<Logger> Loggers { get; } = [];

        internal void Open(StreamAddress stdout, StreamAddress? stderr, bool blocking, string containerId, StreamServices services)
        {
            // One open end if both name the same: the lines keep their order, and a FIFO needs one keeper only.
            var same = stderr is not null && stderr.IsSameAs(stdout);
            Stdout = Open(stdout, LogStream.Stdout, alsoStderr: same, blocking, containerId, services);
            if (stderr is not null)
            {
                Stderr ??= same && stdout.Kind is not StreamKind.Log ? Stdout : Open(stderr, LogStream.Stderr, alsoStderr: false, blocking, containerId, services);
            }
        }

        public void Dispose()
        {
            Stdout?.Dispose();
            Stderr?.Dispose();
        }

        private OutputSink Open(StreamAddress address, LogStream stream, bool alsoStderr, bool blocking, string containerId, StreamServices services)
        {
            try
            {
                switch (address.Kind)
                {
                    case StreamKind.Log:
                        return LogSink.Open(address, stream, blocking, services, Pipe(stream));
                    case StreamKind.Logger:
                        var isStdout = stream == LogStream.Stdout;
                        var outputs = LoggerOutputs.Open(
                            address, containerId, isStdout ? () => Pipe(LogStream.Stdout) : null, !isStdout || alsoStderr ? () => Pipe(LogStream.Stderr) : null, services);
                        Loggers.Add(outputs.Logger);
                        Stderr ??= outputs.Stderr;
                        return isStdout ? outputs.Stdout! : outputs.Stderr!;
                    default:
                        return OutputSink.Open(address, blocking, services);
                }
            }
            catch (NativeException e)
            {
                throw address.Failure(e);
            }

            (SafeFileHandle Reader, SafeFileHandle Writer) Pipe(LogStream which) => pipes?.Invoke(which) ?? RelayPipe.Open(blocking);
        }
    }
}
