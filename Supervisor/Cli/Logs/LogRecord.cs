namespace Supervisor.Cli.Logs;

/// <summary>Which of a process's outputs a record is of.</summary>
internal enum LogStream
{
    Stdout,
    Stderr,
}

/// <summary>One record of a log. Its spans are good until the next one is read.</summary>
internal ref struct LogRecord
{
    internal LogStream Stream;

    /// <summary>When it was read, as it stands in the log: RFC 3339.</summary>
    internal ReadOnlySpan<byte> Time;

    /// <summary>What the process wrote, without the newline that ended it.</summary>
    internal ReadOnlySpan<byte> Text;

    /// <summary>Whether a newline followed; otherwise the next record of the stream goes on where this one stops.</summary>
    internal bool EndsLine;
}

/// <summary>Understands the lines of one format.</summary>
internal abstract class RecordParser
{
    internal static RecordParser Of(RecordFormat format) => format == RecordFormat.DockerJson ? new DockerJsonRecords() : new CriRecords();

    /// <summary>Takes one line, without its newline, apart. False when it is no record.</summary>
    internal abstract bool TryParse(ReadOnlySpan<byte> line, out LogRecord record);
}
