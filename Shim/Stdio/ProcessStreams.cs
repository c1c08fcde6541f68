using System.Runtime.InteropServices;
using Containerd;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Stdio;

/// <summary>
/// The streams of one process, from before it exists until it is deleted. FIFOs and files are opened here and handed to the runtime as
/// they are, so that no byte passes through this process; only a terminal is relayed.
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

    private ProcessStreams(InputSource? stdin, OutputSink stdout, OutputSink stderr) => (_stdin, _stdout, _stderr) = (stdin, stdout, stderr);

    private ProcessStreams(StreamLoop loop, InputSource? stdin, OutputSink output, OutputSink? errors, SafeFileHandle nullDevice)
    {
        (_stdin, _stdout, _stderr, _null) = (stdin, output, errors, nullDevice);
        _terminal = new TerminalRelay(loop, stdin, output);
    }

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
    internal static ProcessStreams Open(StreamAddresses addresses, StreamLoop loop, StdinPolicy stdinPolicy = StdinPolicy.CloseWithLastWriter) =>
        addresses.Terminal ? OpenTerminal(addresses, loop) : OpenPlain(addresses, loop, stdinPolicy);

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
                await Task.WhenAny(delivered, Task.Delay(turn, cancellationToken)).ConfigureAwait(false);
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

    private static ProcessStreams OpenPlain(StreamAddresses addresses, StreamLoop loop, StdinPolicy stdinPolicy)
    {
        InputSource? stdin = null;
        OutputSink? stdout = null;
        try
        {
            stdin = OpenInput(addresses.Stdin, blocking: true, stdinPolicy, loop);
            stdout = OpenOutput("stdout", addresses.Stdout, blocking: true, loop);
            // One open file if both name the same: the lines keep their order, and a FIFO needs one keeper only.
            var stderr = addresses.Stderr == addresses.Stdout ? stdout : OpenOutput("stderr", addresses.Stderr, blocking: true, loop);
            return new ProcessStreams(stdin, stdout, stderr);
        }
        catch
        {
            stdin?.Dispose();
            stdout?.Dispose();
            throw;
        }
    }

    private static ProcessStreams OpenTerminal(StreamAddresses addresses, StreamLoop loop)
    {
        InputSource? stdin = null;
        OutputSink? output = null;
        OutputSink? errors = null;
        SafeFileHandle? nullDevice = null;
        try
        {
            // Nothing to type, as opposed to an end that would be typed at once. And a client that leaves does not end a terminal's input.
            stdin = StreamAddress.Parse("stdin", addresses.Stdin).Kind == StreamKind.Null
                ? null
                : OpenInput(addresses.Stdin, blocking: false, StdinPolicy.KeepOpen, loop);
            output = OpenOutput("stdout", addresses.Stdout, blocking: false, loop);

            // Everything comes through the terminal. But a client that reads a FIFO for errors too waits for its end.
            errors = StreamAddress.Parse("stderr", addresses.Stderr).Kind == StreamKind.Fifo
                ? OpenOutput("stderr", addresses.Stderr, blocking: false, loop)
                : null;
            nullDevice = OpenNull();

            // A relay that could not start should be known before there is a process.
            loop.Start();
            return new ProcessStreams(loop, stdin, output, errors, nullDevice);
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
            output?.Dispose();
            errors?.Dispose();
            nullDevice?.Dispose();
        }
    }

    private static InputSource OpenInput(string address, bool blocking, StdinPolicy policy, StreamLoop loop)
    {
        var parsed = StreamAddress.Parse("stdin", address);
        try
        {
            return InputSource.Open(parsed, blocking, policy, loop);
        }
        catch (NativeException e)
        {
            throw StreamAddress.Failure("stdin", address, e);
        }
    }

    private static OutputSink OpenOutput(string stream, string address, bool blocking, StreamLoop loop)
    {
        var parsed = StreamAddress.Parse(stream, address);
        try
        {
            return OutputSink.Open(parsed, blocking, loop);
        }
        catch (NativeException e)
        {
            throw StreamAddress.Failure(stream, address, e);
        }
    }

    private static SafeFileHandle OpenNull() => Fd.Open("/dev/null", Libc.O_RDWR);
}
