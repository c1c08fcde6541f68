using System.Text;

namespace Shim.Runtime;

/// <summary>
/// The directory in which CRIU writes its log, which alone says why it has failed: the runtime only says that it has. Of ours nothing stays but the log
/// of a failure, beside it.
/// </summary>
internal sealed class CriuWork : IDisposable
{
    private const int MaxErrors = 3;
    private const int MaxMessage = 1024;

    private readonly string _log;
    private readonly string? _kept;

    private CriuWork(string directory, string log, string? kept) => (Directory, _log, _kept) = (directory, Path.Combine(directory, log), kept);

    /// <summary>Its path.</summary>
    internal string Directory { get; }

    /// <summary>Makes it.</summary>
    /// <param name="wanted">The caller's own, which is his to remove; empty for one of ours.</param>
    /// <param name="stateDirectory">Where ours is made.</param>
    /// <param name="log">How CRIU calls its log for what it is to do.</param>
    internal static CriuWork Open(string wanted, string stateDirectory, string log)
    {
        var work = wanted.Length > 0
            ? new CriuWork(wanted, log, null)
            : new CriuWork(Path.Combine(stateDirectory, "criu-work"), log, Path.Combine(stateDirectory, $"criu-{log}"));
        System.IO.Directory.CreateDirectory(work.Directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return work;
    }

    /// <summary>What the runtime has said of a failure, and then what CRIU has.</summary>
    internal string Explain(string message)
    {
        if (!File.Exists(_log))
        {
            return message;
        }

        var errors = Errors(_log);
        if (_kept is not null)
        {
            File.Move(_log, _kept, overwrite: true);
        }

        // runc names the log in a line of its own.
        message = message.Replace("\n", ", ", StringComparison.Ordinal).Replace(_log, _kept ?? _log, StringComparison.Ordinal).TrimEnd();
        return errors.Length == 0 ? message : $"{message}: {errors}";
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_kept is null)
        {
            return;
        }

        try
        {
            System.IO.Directory.Delete(Directory, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It goes with all the rest of the container.
        }
    }

    // "(00.123456)     42: Error (criu/files-reg.c:1710): Can't lookup mount=29". What comes first is the reason, the rest are its consequences.
    private static string Errors(string log)
    {
        const string Key = "Error (";
        const string End = "): ";
        var errors = new StringBuilder();
        foreach (var line in File.ReadLines(log).Where(line => line.Contains(Key, StringComparison.Ordinal)).Take(MaxErrors))
        {
            var place = line.IndexOf(Key, StringComparison.Ordinal);
            var end = line.IndexOf(End, place, StringComparison.Ordinal);
            errors.Append(errors.Length > 0 ? "; " : "").Append(line.AsSpan(end < 0 ? place : end + End.Length).Trim());
        }

        return errors.Length > MaxMessage ? errors.ToString(0, MaxMessage) : errors.ToString();
    }
}
