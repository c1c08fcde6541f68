namespace Supervisor.Cli.Logs;

/// <summary>
/// Gives the bytes of records back as the process wrote them, each stream to its own output, with as few writes as possible and without any
/// allocation.
/// </summary>
internal sealed class LogPrinter
{
    private readonly Output[] _outputs;
    private readonly bool _timestamps;
    private readonly long? _since;
    private readonly long? _until;
    private readonly bool _plain;
    private readonly bool _sameTarget;

    /// <param name="stdout">Where the stdout of the process goes.</param>
    /// <param name="stderr">Where its stderr goes.</param>
    /// <param name="sameTarget">Both end in the same place, where their order can be seen.</param>
    /// <param name="timestamps">Whether each line begins with its time.</param>
    /// <param name="since">Lines that began earlier are left out.</param>
    /// <param name="until">Lines that began later are left out.</param>
    internal LogPrinter(Stream stdout, Stream stderr, bool sameTarget, bool timestamps = false, long? since = null, long? until = null)
    {
        _outputs = [new Output(stdout), new Output(stderr)];
        (_timestamps, _since, _until, _sameTarget) = (timestamps, since, until, sameTarget);
        _plain = !timestamps && since is null && until is null;
    }

    /// <summary>A line was met that began after the last moment that is wanted.</summary>
    internal bool IsPastEnd { get; private set; }

    internal void Print(in LogRecord record)
    {
        var output = _outputs[(int)record.Stream];
        if (!_plain && !Begin(output, record))
        {
            return;
        }

        if (_sameTarget)
        {
            _outputs[1 - (int)record.Stream].Flush();
        }

        output.Add(record.Text);
        if (record.EndsLine)
        {
            output.Add("\n"u8);
        }
    }

    /// <summary>Bytes of a stream, as they are.</summary>
    internal void Print(LogStream stream, ReadOnlySpan<byte> bytes) => _outputs[(int)stream].Add(bytes);

    internal void Flush()
    {
        foreach (var output in _outputs)
        {
            output.Flush();
        }
    }

    /// <summary>Whether the record is to be shown; what goes before its text if it begins a line.</summary>
    private bool Begin(Output output, in LogRecord record)
    {
        if (!output.InLine)
        {
            output.Shown = IsWanted(record.Time);
            if (output.Shown && _timestamps)
            {
                if (_sameTarget)
                {
                    _outputs[1 - (int)record.Stream].Flush();
                }

                output.Add(record.Time);
                output.Add(" "u8);
            }
        }

        output.InLine = !record.EndsLine;
        return output.Shown;
    }

    private bool IsWanted(ReadOnlySpan<byte> time)
    {
        if (_since is null && _until is null)
        {
            return true;
        }

        // What has no time that could be understood is rather shown than lost.
        if (!LogTime.TryParse(time, out var nanoseconds))
        {
            return true;
        }

        IsPastEnd |= nanoseconds > _until;
        return !(nanoseconds < _since) && !(nanoseconds > _until);
    }

    private sealed class Output(Stream destination)
    {
        private readonly byte[] _buffer = new byte[256 * 1024];
        private int _count;

        /// <summary>Whether the last record was only a part of a line.</summary>
        internal bool InLine { get; set; }

        /// <summary>Whether the line that the last record belongs to is shown.</summary>
        internal bool Shown { get; set; }

        internal void Add(ReadOnlySpan<byte> bytes)
        {
            if (bytes.Length > _buffer.Length - _count)
            {
                Flush();
                if (bytes.Length > _buffer.Length)
                {
                    destination.Write(bytes);
                    return;
                }
            }

            bytes.CopyTo(_buffer.AsSpan(_count));
            _count += bytes.Length;
        }

        internal void Flush()
        {
            if (_count > 0)
            {
                var count = _count;
                _count = 0;
                destination.Write(_buffer.AsSpan(0, count));
            }
        }
    }
}
