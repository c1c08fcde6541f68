using Containerd;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;
using Shim.Processes;

namespace Shim.Stdio.Loggers;

/// <summary>
/// A program that reads a process's output, by containerd's protocol: stdout comes on its descriptor 3, stderr on 4, and it closes 5 (or writes to
/// it) when it is ready. A logger that dies is started again, and finds what its predecessor has not read.
/// </summary>
internal sealed class Logger
{
    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_longestPause = TimeSpan.FromSeconds(10);

    // To read the rest, when nobody waits for it.
    private static readonly TimeSpan s_restLimit = TimeSpan.FromSeconds(10);

    // A logger that has lived so long did not die of its start.
    private static readonly TimeSpan s_goodLife = TimeSpan.FromSeconds(10);

    private readonly StreamAddress _address;
    private readonly StreamServices _services;
    private readonly SafeFileHandle _stdout;
    private readonly SafeFileHandle _stderr;
    private readonly string[] _environment;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();

    // Guarded by _lock.
    private Reaper.Child? _child;
    private bool _attended;
    private bool _outputEnded;
    private bool _givenUp;

    /// <param name="address">Which program, with which arguments.</param>
    /// <param name="containerId">The container's id, for the program.</param>
    /// <param name="services">Where programs may be, and what starts them.</param>
    /// <param name="stdout">What the program reads as stdout. Owned from now on.</param>
    /// <param name="stderr">What the program reads as stderr. Owned from now on.</param>
    internal Logger(StreamAddress address, string containerId, StreamServices services, SafeFileHandle stdout, SafeFileHandle stderr)
    {
        (_address, _services, _stdout, _stderr) = (address, services, stdout, stderr);
        _environment = [$"CONTAINER_ID={containerId}", $"CONTAINER_NAMESPACE={services.Namespace}", $"PATH={SearchPath.Value}"];
    }

    /// <summary>Completes when the program has ended after the output has, or is no longer waited for.</summary>
    internal Task Ended => _ended.Task;

    /// <summary>
    /// Starts the program and waits until it is ready. Throws InvalidArgument when it cannot be started or ends before, DeadlineExceeded when it
    /// takes too long.
    /// </summary>
    internal async Task StartAsync(CancellationToken cancellationToken)
    {
        var (child, ready) = Spawn();
        using (ready)
        {
            using var limit = new Patience(_services.LoggerStartLimit, cancellationToken);
            try
            {
                var readiness = _services.Loop.WaitReadableAsync(ready, limit.Token);
                await Task.WhenAny(readiness, child.Exit).ConfigureAwait(false);

                // A process that ends closes its descriptors too: that is no readiness.
                if (child.Exit.IsCompleted || (readiness.IsCompletedSuccessfully && ProcFs.IsExiting(child.Pid)))
                {
                    var exit = await child.Exit.WaitAsync(limit.Token).ConfigureAwait(false);
                    throw _address.Refusal($"the logger ended with status {exit.Status.Code} before it was ready");
                }

                await readiness.ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                child.KillGroup();
                throw TaskException.Timeout($"the logger {_address.Path} was not ready within {_services.LoggerStartLimit.TotalSeconds:0.#} s");
            }
        }

        lock (_lock)
        {
            _attended = true;
        }

        _ = AttendAsync(child);
    }

    /// <summary>There will be no more output: the program reads the rest and ends by itself.</summary>
    internal void OutputEnded()
    {
        lock (_lock)
        {
            _outputEnded = true;
            if (!_givenUp || !_attended)
            {
                KillIfUseless_NeedsLock();
                return;
            }
        }

        // A background child of a process that was deleted long ago has ended: the logger gets a moment for what it wrote.
        _ = Clock.DelayAsync(s_restLimit).ContinueWith(_ => GiveUp(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }

    /// <summary>Nobody waits for the program any more: once its output has ended, it is killed.</summary>
    internal void GiveUp()
    {
        lock (_lock)
        {
            _givenUp = true;
            KillIfUseless_NeedsLock();
        }
    }

    private void KillIfUseless_NeedsLock()
    {
        if (_outputEnded && _givenUp)
        {
            _child?.KillGroup();
            if (!_attended)
            {
                End();
            }
        }
    }

    private (Reaper.Child Child, SafeFileHandle Ready) Spawn()
    {
        var (ready, signal) = Libc.Pipe();
        using (signal)
        {
            try
            {
                using var nothing = Fd.Open("/dev/null", Libc.O_RDWR);
                Fd.SetNonBlocking(ready, true);
                var child = _services.Reaper.Spawn(new SpawnRequest
                {
                    Path = _address.Path,
                    Arguments = [_address.Path, .. _address.Arguments],
                    Environment = _environment,
                    WorkingDirectory = "/",
                    Stdin = nothing,
                    Stdout = nothing,
                    Stderr = nothing,
                    ExtraDescriptors = [_stdout, _stderr, signal],
                    NewProcessGroup = true,
                });
                lock (_lock)
                {
                    _child = child;
                }

                return (child, ready);
            }
            catch (NativeException e)
            {
                ready.Dispose();
                throw _address.Failure(e);
            }
        }
    }

    /// <summary>Stands by the program until it is needed no more, and starts it again whenever it dies before that.</summary>
    private async Task AttendAsync(Reaper.Child? child)
    {
        var pause = s_firstPause;
        while (true)
        {
            if (child is not null)
            {
                var born = Environment.TickCount64;
                var exit = await child.Exit.ConfigureAwait(false);
                if (IsDone())
                {
                    End();
                    return;
                }

                _services.Loop.Log($"the logger {_address.Path} (pid {child.Pid}) ended with status {exit.Status.Code} while there was output to read: it is started again");
                pause = TimeSpan.FromMilliseconds(Environment.TickCount64 - born) > s_goodLife ? s_firstPause : pause;
            }

            await Clock.DelayAsync(pause).ConfigureAwait(false);
            pause = TimeSpan.FromTicks(Math.Min(pause.Ticks * 2, s_longestPause.Ticks));
            if (IsDone())
            {
                End();
                return;
            }

            child = TrySpawn();
        }
    }

    private Reaper.Child? TrySpawn()
    {
        try
        {
            // Its readiness is nobody's concern now: it reads, or it does not.
            var (child, ready) = Spawn();
            ready.Dispose();
            return child;
        }
        catch (TaskException e)
        {
            _services.Loop.Log($"the logger cannot be started again: {e.Message}");
            return null;
        }
    }

    /// <summary>Whether nothing is left to read, or nobody waits for it.</summary>
    private bool IsDone()
    {
        lock (_lock)
        {
            _child = null;
            return _outputEnded && (_givenUp || (Fd.BytesAvailable(_stdout) == 0 && Fd.BytesAvailable(_stderr) == 0));
        }
    }

    private void End()
    {
        _stdout.Dispose();
        _stderr.Dispose();
        _ended.TrySetResult();
    }
}
