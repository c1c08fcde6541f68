namespace Shim.Tasks;

/// <summary>
/// Which events of a container's past are still needed by a shim that takes the place of a lost one: <see cref="History"/> of these and of what
/// comes after them is the same as of all. Keeps numbers, not events.
/// </summary>
internal sealed class JournalExtract
{
    private readonly HashSet<long> _container = [];
    private readonly Dictionary<int, List<long>> _execs = [];
    private readonly HashSet<long> _ofExecs = [];
    private long _pause;
    private bool _hasOom;

    /// <summary>Whether the event of this number is needed.</summary>
    internal bool Contains(long sequence) => sequence == _pause || _container.Contains(sequence) || _ofExecs.Contains(sequence);

    /// <summary>One event more. Events come in their order.</summary>
    internal void Apply(TaskEvent what)
    {
        switch (what.Type)
        {
            case TaskEventType.Create:
                _container.Clear();
                _execs.Clear();
                _ofExecs.Clear();
                (_pause, _hasOom) = (0, false);
                _container.Add(what.Sequence);
                break;
            case TaskEventType.Pause:
                _pause = what.Sequence;
                break;
            case TaskEventType.Resume:
                _pause = 0;
                break;
            case TaskEventType.Oom when !_hasOom:
                _hasOom = _container.Add(what.Sequence);
                break;
            case TaskEventType.Start or TaskEventType.Exit or TaskEventType.Delete when what.Init:
                _container.Add(what.Sequence);
                break;
            case TaskEventType.ExecAdded:
                Forget(what.Pid);
                Keep(what);
                break;
            case TaskEventType.Start or TaskEventType.Exit:
                Keep(what);
                break;
            case TaskEventType.Delete:
                Forget(what.Pid);
                break;
        }
    }

    private void Keep(TaskEvent what)
    {
        if (!_execs.TryGetValue(what.Pid, out var events))
        {
            _execs.Add(what.Pid, events = []);
        }

        events.Add(what.Sequence);
        _ofExecs.Add(what.Sequence);
    }

    private void Forget(int pid)
    {
        if (_execs.Remove(pid, out var events))
        {
            _ofExecs.ExceptWith(events);
        }
    }
}
