using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Mono.Unix.Native;

namespace Shim.Tests.Support;

/// <summary>
/// Reads a FIFO to its end on a thread of its own. The read end is open when the constructor returns, so a writer that opens
/// afterwards does not block. The end is seen only after there has been a writer.
/// </summary>
public sealed class FifoReader : IDisposable
{
    private const int PollMilliseconds = 50;

    private readonly SafeFileHandle _handle;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly MemoryStream _bytes = new();
    private readonly Lock _gate = new();
    private readonly int _keep;
    private readonly IncrementalHash? _hash;
    private long _count;
    private volatile bool _stop;

    /// <summary>Opens the FIFO, made here if it is not there yet, and begins to read.</summary>
    /// <param name="path">The FIFO.</param>
    /// <param name="keep">How many bytes to keep; what comes after them is only counted.</param>
    /// <param name="hash">Whether all bytes go into <see cref="HashAsync"/>.</param>
    public FifoReader(string path, int keep = 64 * 1024 * 1024, bool hash = false)
    {
        _hash = hash ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
        Path = File.Exists(path) ? path : Fifo.Create(path);
        _keep = keep;
        _handle = Fifo.Open(path, OpenFlags.O_RDONLY | OpenFlags.O_NONBLOCK);
        new Thread(Run) { IsBackground = true, Name = "fifo reader" }.Start();
    }

    /// <summary>The FIFO.</summary>
    public string Path { get; }

    /// <summary>How many bytes have come.</summary>
    public long Count => Interlocked.Read(ref _count);

    /// <summary>Ends when the last writer has closed.</summary>
    public Task Ended => _ended.Task;

    /// <summary>What has come so far, as text.</summary>
    public string Text
    {
        get
        {
            lock (_gate)
            {
                return Encoding.UTF8.GetString(_bytes.ToArray());
            }
        }
    }

    /// <summary>All bytes, once the last writer has closed.</summary>
    public async Task<byte[]> ReadToEndAsync(TimeSpan deadline)
    {
        await Ended.WithinAsync(deadline, $"the end of {Path} after {Count} bytes");
        lock (_gate)
        {
            return _bytes.ToArray();
        }
    }

    /// <summary>All text, once the last writer has closed.</summary>
    public async Task<string> ReadTextAsync(TimeSpan deadline) => Encoding.UTF8.GetString(await ReadToEndAsync(deadline));

    /// <summary>The SHA-256 of all bytes, once the last writer has closed.</summary>
    public async Task<string> HashAsync(TimeSpan deadline)
    {
        await Ended.WithinAsync(deadline, $"the end of {Path} after {Count} bytes");
        return Convert.ToHexStringLower(_hash!.GetHashAndReset());
    }

    /// <summary>Until a text has come.</summary>
    public Task WaitForTextAsync(string text, TimeSpan deadline) =>
        Poll.For(() => Text, all => all.Contains(text, StringComparison.Ordinal), deadline, $"\"{text}\" from {Path}");

    /// <inheritdoc/>
    public void Dispose()
    {
        _stop = true;
        // The thread looks every few milliseconds and closes what it reads.
        _ended.Task.Wait(TimeSpan.FromSeconds(5));
        _handle.Dispose();
        _hash?.Dispose();
    }

    private void Run()
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (!_stop && ReadSome(buffer))
            {
            }

            _ended.TrySetResult();
        }
        catch (IOException exception)
        {
            _ended.TrySetException(exception);
        }
    }

    // False at the end of the file.
    private bool ReadSome(byte[] buffer)
    {
        Pollfd[] poll = [new() { fd = (int)_handle.DangerousGetHandle(), events = PollEvents.POLLIN }];
        if (Syscall.poll(poll, PollMilliseconds) <= 0 || poll[0].revents == 0)
        {
            return true;
        }

        int read;
        unsafe
        {
            fixed (byte* start = buffer)
            {
                read = (int)Syscall.read(poll[0].fd, start, (ulong)buffer.Length);
            }
        }

        if (read < 0)
        {
            return Stdlib.GetLastError() is Errno.EAGAIN or Errno.EINTR ? true : throw new IOException($"read {Path}: {Stdlib.GetLastError()}");
        }

        _hash?.AppendData(buffer, 0, read);
        lock (_gate)
        {
            _bytes.Write(buffer, 0, (int)Math.Min(read, Math.Max(0, _keep - _bytes.Length)));
        }

        Interlocked.Add(ref _count, read);
        return read > 0;
    }
}
