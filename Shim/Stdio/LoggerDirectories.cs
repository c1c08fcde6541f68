using Shim.Interop;

namespace Shim.Stdio;

/// <summary>
/// Which programs callers may have their output read by. They run as we do, as root and outside of any container: so only what root has
/// put into a directory for programs, and what nobody else could have changed there.
/// </summary>
/// <param name="allowed">Absolute paths; none means the usual ones.</param>
internal sealed class LoggerDirectories(IReadOnlyList<string> allowed)
{
    private const uint WritableByOthers = 0x12;
    private const uint Executable = 0x49;

    private static readonly string[] s_usual =
    [
        "/usr/local/bin", "/usr/local/sbin", "/usr/local/libexec", "/usr/local/lib",
        "/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/lib", "/bin", "/sbin",
    ];

    private readonly string[] _allowed = allowed.Count > 0 ? [.. allowed.Select(directory => directory.TrimEnd('/'))] : s_usual;

    /// <summary>Returns if the program of an address may be run; else throws InvalidArgument with the reason.</summary>
    internal void Check(StreamAddress address)
    {
        var top = _allowed.FirstOrDefault(directory => address.Path.StartsWith(directory + "/", StringComparison.Ordinal))
            ?? throw address.Refusal($"it is outside of the directories that are allowed for loggers: {string.Join(", ", _allowed)} (--logger-dir)");
        try
        {
            using var start = Fd.Open(top.Length > 0 ? top : "/", Libc.O_PATH | Libc.O_DIRECTORY);
            using var program = Libc.OpenBeneath(start, address.Path[(top.Length + 1)..], Libc.O_PATH, followLinks: true);
            var (kind, owner, permissions) = Libc.StatusOf(program);
            if (kind != FileKind.Regular || (permissions & Executable) == 0)
            {
                throw address.Refusal("it is not an executable file");
            }

            if (owner != 0 || (permissions & WritableByOthers) != 0)
            {
                throw address.Refusal("a logger must belong to root, and nobody else may be able to write to it");
            }
        }
        catch (NativeException e) when (e.Number == Errno.EXDEV)
        {
            throw address.Refusal($"a symbolic link leads out of {top}");
        }
    }
}
