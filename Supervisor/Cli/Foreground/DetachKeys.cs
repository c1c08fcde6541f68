namespace Supervisor.Cli.Foreground;

/// <summary>The keys that leave a process alone with its terminal.</summary>
internal sealed class DetachKeys
{
    internal const string Default = "ctrl-p,ctrl-q";

    // What a terminal sends for ctrl-@ to ctrl-_ is the position in this row.
    private const string ControlKeys = "@abcdefghijklmnopqrstuvwxyz[\\]^_";
    private const string ControlPrefix = "ctrl-";

    private readonly byte[] _sequence;

    private DetachKeys(byte[] sequence) => _sequence = sequence;

    /// <summary>No keys: nothing that is typed detaches.</summary>
    internal static DetachKeys None { get; } = new([]);

    /// <summary>Understands "ctrl-p,ctrl-q" or "ctrl-],x"; nothing at all is <see cref="None"/>. False for anything else.</summary>
    internal static bool TryParse(string text, out DetachKeys keys)
    {
        keys = None;
        var sequence = new List<byte>();
        foreach (var key in text.Length == 0 ? [] : text.Split(','))
        {
            if (key.Length == 1 && char.IsAscii(key[0]))
            {
                sequence.Add((byte)key[0]);
            }
            else if (key.Length == ControlPrefix.Length + 1 && key.StartsWith(ControlPrefix, StringComparison.Ordinal)
                && ControlKeys.IndexOf(char.ToLowerInvariant(key[^1]), StringComparison.Ordinal) is >= 0 and var code)
            {
                sequence.Add((byte)code);
            }
            else
            {
                return false;
            }
        }

        keys = new DetachKeys([.. sequence]);
        return true;
    }

    /// <summary>Something that looks for them; null when there are none.</summary>
    internal DetachMatcher? NewMatcher() => _sequence.Length == 0 ? null : new DetachMatcher(_sequence);
}

/// <summary>
/// Looks for the keys in what is typed. What may be their beginning is held until it is known; if it was not, it is passed on, in its place.
/// </summary>
internal sealed class DetachMatcher
{
    private readonly byte[] _sequence;

    // For each number of matched keys: how many of the last ones are a beginning of the sequence, too.
    private readonly int[] _fallback;
    private byte[] _passed = [];
    private int _count;
    private int _matched;

    internal DetachMatcher(byte[] sequence)
    {
        _sequence = sequence;
        _fallback = new int[sequence.Length + 1];
        for (int i = 1, length = 0; i < sequence.Length; i++)
        {
            while (length > 0 && sequence[i] != sequence[length])
            {
                length = _fallback[length];
            }

            length += sequence[i] == sequence[length] ? 1 : 0;
            _fallback[i + 1] = length;
        }
    }

    /// <summary>What the last call let pass.</summary>
    internal ReadOnlySpan<byte> Passed => _passed.AsSpan(0, _count);

    /// <summary>What may still become the sequence.</summary>
    internal ReadOnlySpan<byte> Held => _sequence.AsSpan(0, _matched);

    /// <summary>Takes what was typed. True when it completes the sequence; what was typed after it is nobody's.</summary>
    internal bool Feed(ReadOnlySpan<byte> typed)
    {
        if (_passed.Length < typed.Length + _sequence.Length)
        {
            _passed = new byte[typed.Length + _sequence.Length];
        }

        _count = 0;
        foreach (var key in typed)
        {
            while (_matched > 0 && key != _sequence[_matched])
            {
                var shorter = _fallback[_matched];
                Pass(_sequence.AsSpan(0, _matched - shorter));
                _matched = shorter;
            }

            if (key != _sequence[_matched])
            {
                _passed[_count++] = key;
            }
            else if (++_matched == _sequence.Length)
            {
                _matched = 0;
                return true;
            }
        }

        return false;
    }

    private void Pass(ReadOnlySpan<byte> keys)
    {
        keys.CopyTo(_passed.AsSpan(_count));
        _count += keys.Length;
    }
}
