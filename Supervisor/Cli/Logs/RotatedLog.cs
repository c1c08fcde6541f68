using System.Globalization;

namespace Supervisor.Cli.Logs;

/// <summary>
/// The files of a log that is rotated while we look: PATH, PATH.1 (the newest of the old ones), PATH.2 and so on.
/// </summary>
/// <remarks>
/// A rotation renames from the oldest to the newest, and only upwards, so whoever looks upwards meets every file, though maybe twice. A
/// number without a file is a rotation that is just going on, or somebody who has tidied up.
/// </remarks>
internal sealed class RotatedLog(string path)
{
    // The most files that a log can have.
    private const int MaxFiles = 100;

    private readonly string[] _paths = [path, .. Enumerable.Range(1, MaxFiles).Select(number => string.Create(CultureInfo.InvariantCulture, $"{path}.{number}"))];

    internal string Path => path;

    /// <summary>Opens all files there are, oldest first.</summary>
    internal List<LogFile> OpenAll()
    {
        var files = new List<LogFile>();
        foreach (var candidate in _paths)
        {
            if (LogFile.TryOpen(candidate) is { } file)
            {
                if (files.Exists(file.IsSameAs))
                {
                    // It was renamed between two looks.
                    file.Dispose();
                }
                else
                {
                    files.Insert(0, file);
                }
            }
        }

        return files;
    }

    /// <summary>
    /// Opens the file that was begun after <paramref name="current"/>; null when there is none yet. Once there is one, nothing is added to the
    /// current one any more.
    /// </summary>
    /// <param name="current">A file of this log, held open since it was read.</param>
    /// <param name="lost">The current one has been deleted: maybe others after it have been, too.</param>
    internal LogFile? OpenNext(LogFile current, out bool lost)
    {
        lost = false;
        while (true)
        {
            var place = Array.FindIndex(_paths, current.IsAt);
            if (place == 0)
            {
                return null;
            }

            if (place < 0)
            {
                return OpenAfterLost(current, out lost);
            }

            // Normally the number before ours.
            var next = place - 1;
            LogFile? file = null;
            while (next >= 0 && (file = LogFile.TryOpen(_paths[next])) is null)
            {
                next--;
            }

            // What was found is the next one only if nothing has been renamed while we looked.
            if (current.IsAt(_paths[place]) && !Enumerable.Range(next + 1, place - next - 1).Any(number => File.Exists(_paths[number])))
            {
                return file;
            }

            file?.Dispose();
        }
    }

    private LogFile? OpenAfterLost(LogFile current, out bool lost)
    {
        lost = !current.HasName;
        if (lost)
        {
            // The oldest goes first: whatever is left was begun later.
            var files = OpenAll();
            files.Skip(1).ToList().ForEach(file => file.Dispose());
            lost = files.Count > 0;
            return files.FirstOrDefault();
        }

        // Somebody has given it a name of his own and lets the log be reopened. Until then it is written to, even if there is a new file.
        var next = LogFile.TryOpen(path);
        if (next is { Length: 0 })
        {
            next.Dispose();
            return null;
        }

        return next;
    }
}
