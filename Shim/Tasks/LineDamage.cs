namespace Shim.Tasks;

/// <summary>What is wrong with a file of lines, for the one line that is logged of it: where, and how much.</summary>
internal sealed class LineDamage(string path)
{
    private const int MaxNamed = 4;

    private readonly List<string> _named = [];
    private long _lines;
    private long _bytes;

    /// <summary>Whether there is any.</summary>
    internal bool Any => _lines > 0;

    /// <summary>A line that is not what belongs there.</summary>
    internal void Add(long offset, int length)
    {
        _lines++;
        _bytes += length;
        if (_named.Count < MaxNamed)
        {
            _named.Add($"{length} bytes at offset {offset}");
        }
    }

    /// <summary>How many lines of at least so many bytes there may have been once.</summary>
    internal long MostLines(int minBytes) => _lines + (_bytes / minBytes);

    /// <inheritdoc/>
    public override string ToString() =>
        $"{path} is damaged: {string.Join(", ", _named)}{(_lines > MaxNamed ? $" and {_lines - MaxNamed} lines more" : "")}";
}
