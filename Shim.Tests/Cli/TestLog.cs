extern alias SupervisorAssembly;

using System.Text;
using Shim.Interop;
using Shim.Stdio.Logs;
using Shim.Tests.Support;
using Reading = SupervisorAssembly::Supervisor.Cli.Logs;

namespace Shim.Tests.Cli;

/// <summary>A log as the shim writes it, with the shim's own code, in a directory of its own.</summary>
internal sealed class TestLog : IDisposable
{
    private readonly string _directory = TestRun.NewDirectory("log");
    private readonly LogOptions _options;
    private readonly LogRecords[] _streams;
    private readonly LogBuffer _buffer = new();
    private readonly LogFile _file;
    private DateTime _now = new(2026, 11, 24, 10, 0, 0, DateTimeKind.Utc);

    internal TestLog(LogFormat format = LogFormat.Cri, long maxSize = 0, int maxFiles = 5, string name = "output.log")
    {
        Path = System.IO.Path.Combine(_directory, name);
        _options = new LogOptions { Format = format, MaxSize = maxSize, MaxFiles = maxFiles };
        _streams = [new LogRecords(format, LogStream.Stdout), new LogRecords(format, LogStream.Stderr)];
        var directory = Fd.Open(_directory, Libc.O_PATH | Libc.O_DIRECTORY);
        _file = LogFile.Open(new LogDirectory(directory), name, _options, text => throw new InvalidOperationException(text));
    }

    internal string Path { get; }

    /// <summary>What went in, stream by stream.</summary>
    internal MemoryStream[] Written { get; } = [new(), new()];

    internal Reading.RecordFormat Format => _options.Format == LogFormat.Cri ? Reading.RecordFormat.Cri : Reading.RecordFormat.DockerJson;

    internal int Files => Directory.GetFiles(_directory).Length;

    /// <summary>The process writes, and a millisecond passes.</summary>
    internal void Write(LogStream stream, ReadOnlySpan<byte> bytes)
    {
        Written[(int)stream].Write(bytes);
        _streams[(int)stream].Append(bytes, _now, _buffer);
        _now = _now.AddMilliseconds(1);
        Flush();
    }

    internal void Out(string text) => Write(LogStream.Stdout, Encoding.UTF8.GetBytes(text));

    internal void Err(string text) => Write(LogStream.Stderr, Encoding.UTF8.GetBytes(text));

    /// <summary>Bytes as they are, at the end of the current file.</summary>
    internal void Raw(string text) => File.AppendAllText(Path, text);

    /// <summary>Both streams end.</summary>
    internal void End()
    {
        foreach (var stream in _streams)
        {
            stream.End(_now, _buffer);
        }

        Flush();
    }

    internal void Reopen()
    {
        if (_file.Reopen() is { } failure)
        {
            throw failure;
        }
    }

    /// <summary>A reader of all that is there.</summary>
    internal Reading.RecordReader Reader(bool follow = false, Action<string>? warn = null, long? tail = null, long? until = null)
    {
        var log = new Reading.RotatedLog(Path);
        var files = log.OpenAll();
        var reader = new Reading.RecordReader(log, files, Format, follow, warn ?? (text => throw new InvalidOperationException(text)));
        if (tail is { } lines)
        {
            var (stdout, stderr) = Reading.LogTail.Find([files], [Format], lines, until)[0];
            reader.StartAt(stdout, stderr);
        }

        return reader;
    }

    public void Dispose()
    {
        _file.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private void Flush()
    {
        while (_buffer.Length > 0)
        {
            var count = _file.Write(_buffer.Bytes);
            _buffer.Consume(count > 0 ? count : throw new IOException($"error {_file.LastError}"));
        }
    }
}
