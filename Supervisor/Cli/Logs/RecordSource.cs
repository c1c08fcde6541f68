namespace Supervisor.Cli.Logs;

/// <summary>One log with the records of both streams, or two, whose records are put into the order of their times.</summary>
internal sealed class RecordSource : ILogSource
{
    private readonly RecordReader[] _readers;
    private readonly string _path;
    private readonly Action<string> _warn;

    private RecordSource(RecordReader[] readers, string path, Action<string> warn) => (_readers, _path, _warn) = (readers, path, warn);

    /// <summary>Opens the logs of one or two addresses.</summary>
    internal static RecordSource Open(IReadOnlyList<OutputAddress> addresses, LogChoice choice, Action<string> warn)
    {
        var logs = addresses.Select(address => new RotatedLog(address.Path)).ToList();
        var files = logs.ConvertAll(log => log.OpenAll());
        var readers = addresses.Select((address, i) => new RecordReader(logs[i], files[i], address.Format, choice.Follow, warn)).ToArray();
        var source = new RecordSource(readers, addresses[0].Path, warn);
        try
        {
            if (!choice.Follow && files.TrueForAll(list => list.Count == 0))
            {
                throw new CliException($"there is no log {addresses[0].Path} (any more)");
            }

            if (choice.Lines is { } lines)
            {
                var positions = LogTail.Find(files, [.. addresses.Select(address => address.Format)], lines, choice.Until);
                for (var i = 0; i < readers.Length; i++)
                {
                    readers[i].StartAt(positions[i].Stdout, positions[i].Stderr);
                }
            }

            return source;
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    public bool Pump(LogPrinter printer) => _readers.Length == 1 ? PumpOne(printer) : PumpTwo(printer);

    public bool IsOpenIn(uint pid) => Array.Exists(_readers, reader => reader.IsOpenIn(pid));

    public void Dispose()
    {
        if (_readers.Sum(reader => reader.Malformed) is > 0 and var malformed)
        {
            _warn($"{malformed} lines of {_path} are no records, and were left out");
        }

        foreach (var reader in _readers)
        {
            reader.Dispose();
        }
    }

    private bool PumpOne(LogPrinter printer)
    {
        var any = false;
        while (!printer.IsPastEnd && _readers[0].TryRead(out var record))
        {
            any = true;
            printer.Print(record);
        }

        return any;
    }

    private bool PumpTwo(LogPrinter printer)
    {
        var has0 = _readers[0].TryRead(out var record0);
        var has1 = _readers[1].TryRead(out var record1);
        var any = has0 || has1;
        while (has0 || has1)
        {
            if (has0 && (!has1 || TimeOf(record0) <= TimeOf(record1)))
            {
                printer.Print(record0);
                has0 = _readers[0].TryRead(out record0);
            }
            else
            {
                printer.Print(record1);
                has1 = _readers[1].TryRead(out record1);
            }
        }

        return any;
    }

    private static long TimeOf(in LogRecord record) => LogTime.TryParse(record.Time, out var nanoseconds) ? nanoseconds : 0;
}
