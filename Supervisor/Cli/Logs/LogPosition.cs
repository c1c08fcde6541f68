namespace Supervisor.Cli.Logs;

/// <summary>A place in a log: the number of a file, oldest first, and an offset in it.</summary>
internal readonly record struct LogPosition(int File, long Offset) : IComparable<LogPosition>
{
    public int CompareTo(LogPosition other) => File != other.File ? File.CompareTo(other.File) : Offset.CompareTo(other.Offset);

    public static bool operator <(LogPosition left, LogPosition right) => left.CompareTo(right) < 0;

    public static bool operator >(LogPosition left, LogPosition right) => left.CompareTo(right) > 0;

    public static bool operator <=(LogPosition left, LogPosition right) => left.CompareTo(right) <= 0;

    public static bool operator >=(LogPosition left, LogPosition right) => left.CompareTo(right) >= 0;
}
