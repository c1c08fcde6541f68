using System.Diagnostics;
using System.Text;
using Microsoft.Win32.SafeHandles;
using NUnit.Framework;
using Shim.Interop;
using Shim.Tests.Stdio;
using Shim.Tests.Support;

namespace Shim.Tests.Cli;

/// <summary>
/// The client on a real terminal: a session of its own, whose controlling terminal is a pseudo-terminal of ours. We are the person: we type
/// and look. Its stderr is a pipe, so that what it says itself can be told from what the container prints.
/// </summary>
internal sealed class CliTerminal : IDisposable
{
    private const int TermiosBytes = 60;
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(20);

    private readonly TestTerminal _terminal = new();
    private readonly SafeFileHandle _slave;
    private readonly Process _process;
    private readonly byte[] _before;
    private readonly StringBuilder _screen = new();
    private readonly Task<string> _error;
    private readonly Thread _eyes;
    private volatile bool _closed;
    private int _seen;

    internal CliTerminal(SupervisorFixture supervisor, params string[] arguments)
        : this(terminal => CliRun.Start(
            supervisor, "/usr/bin/setsid", ["/bin/sh", "-c", "exec <\"$0\" >\"$0\"; exec \"$@\"", terminal, CliRun.Client, .. arguments]))
    {
    }

    /// <summary>Another client: <paramref name="start"/> is given the terminal's path and starts it there, all its other streams being pipes.</summary>
    internal CliTerminal(Func<string, Process> start)
    {
        // Held open, so that the terminal outlives the client and its settings can be looked at.
        _slave = Fd.Open(_terminal.SlavePath, Libc.O_RDWR | Libc.O_NOCTTY);
        Resize(101, 33);
        _before = Settings;
        _process = start(_terminal.SlavePath);
        _process.StandardInput.Close();
        _error = _process.StandardError.ReadToEndAsync();
        Fd.SetNonBlocking(_terminal.Master, true);
        _eyes = new Thread(Look) { IsBackground = true };
        _eyes.Start();
    }

    internal int ProcessId => _process.Id;

    /// <summary>Whether the terminal hands every key through.</summary>
    internal bool IsRaw => !Settings.AsSpan().SequenceEqual(_before);

    private unsafe byte[] Settings
    {
        get
        {
            Libc.Termios settings = default;
            Assert.That(Libc.TcGetAttr(Fd.Number(_slave), &settings), Is.Zero);
            return new ReadOnlySpan<byte>(&settings, TermiosBytes).ToArray();
        }
    }

    internal void Resize(ushort columns, ushort rows) => Terminal.SetSize(_terminal.Master, columns, rows);

    internal void Type(string keys) => Fd.WriteAll(_terminal.Master, Encoding.UTF8.GetBytes(keys));

    /// <summary>Waits until <paramref name="text"/> is on the screen, after what was seen before.</summary>
    internal async Task SeeAsync(string text)
    {
        await Poll.For(
            () =>
            {
                var screen = Screen;
                var at = screen.IndexOf(text, _seen, StringComparison.Ordinal);
                _seen = at < 0 ? _seen : at + text.Length;
                return at >= 0 ? "seen" : $"ended: {_process.HasExited} {(_process.HasExited && _error.IsCompleted ? _error.Result : "")}, on the screen: {(screen.Length > 2000 ? screen[^2000..] : screen)}";
            },
            answer => answer == "seen",
            s_deadline,
            $"\"{text}\" on the screen");
    }

    /// <summary>Everything that was ever on the screen.</summary>
    internal string Screen
    {
        get
        {
            lock (_screen)
            {
                return _screen.ToString();
            }
        }
    }

    /// <summary>Waits until the client has taken the terminal over.</summary>
    internal Task RawAsync() => Poll.Until(() => IsRaw, s_deadline, "raw mode");

    internal void Signal(Mono.Unix.Native.Signum signal) => _ = Mono.Unix.Native.Syscall.kill(_process.Id, signal);

    /// <summary>Waits for the client's end. It must leave the terminal as it found it; returns what it said on stderr.</summary>
    internal async Task<string> EndAsync(int exitCode)
    {
        await _process.WaitForExitAsync().WithinAsync(s_deadline, $"the end of the client; on the screen: {Screen}");
        var error = await _error.WithinAsync(s_deadline, "the end of its stderr");
        Assert.That(_process.ExitCode, Is.EqualTo(exitCode), () => $"stderr: {error}\nscreen: {Screen}");
        Assert.That(IsRaw, Is.False, "the terminal's settings are as before");
        return error;
    }

    /// <summary>Closes the window: the kernel hangs the terminal up. Waits for the client's end.</summary>
    internal async Task CloseAsync(int exitCode)
    {
        _closed = true;
        _eyes.Join();
        _terminal.Master.Dispose();
        await _process.WaitForExitAsync().WithinAsync(s_deadline, "the end of the client");
        Assert.That(_process.ExitCode, Is.EqualTo(exitCode));
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            _process.WaitForExit();
        }

        _process.Dispose();
        _closed = true;
        _eyes.Join();
        _slave.Dispose();
        _terminal.Master.Dispose();
    }

    private void Look()
    {
        var buffer = new byte[64 * 1024];
        while (!_closed)
        {
            if (!Readiness.Wait(_terminal.Master, Libc.POLLIN, 50))
            {
                continue;
            }

            var count = Fd.Read(_terminal.Master, buffer);
            if (count > 0)
            {
                lock (_screen)
                {
                    _screen.Append(Encoding.UTF8.GetString(buffer, 0, count));
                }
            }
        }
    }
}
