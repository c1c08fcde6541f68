using Supervisor.Events;

namespace Supervisor.Daemon;

/// <summary>What does not work as it should, for whoever asks how this supervisor is. It serves on meanwhile: health does not speak of it.</summary>
internal sealed class Degradation(EventLog events, AcceptPause accepting)
{
    /// <summary>One sentence for each trouble that there is now.</summary>
    internal IEnumerable<string> Sentences =>
        events.Damage.Select(damage => $"events were lost before this start: {damage}")
            .Append(events.Trouble)
            .Append(accepting.Reason.Length == 0 ? "" : $"no connection can be accepted for now: {accepting.Reason}")
            .Where(sentence => sentence.Length > 0);
}
