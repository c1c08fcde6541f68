using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Tasks;

/// <summary>
/// The shim's log: lines on stderr, which whoever started the shim has pointed somewhere. Written with write(2), because the
/// console class would cost a thread and signal handlers, and never blocking: when nobody takes the lines they are dropped and counted.
/// </summary>
internal sealed class TaskLog
{
    private static readonly SafeFileHandle s_stderr = new(2, ownsHandle: false);
    private readonly bool _debug;
    private long _dropped;

    internal TaskLog(bool debug) => _debug = debug;

    /// <summary>Lines that could not be written.</summary>
    internal long Dropped => Volatile.Read(ref _dropped);

    internal void Debug(string message)
    {
        if (_debug)
        {
            Write("debug", message);
        }
    }

    internal void Info(string message) => Write("info", message);

    internal void Error(string message) => Write("error", message);

    private void Write(string level, string message)
    {
        var line = Encoding.UTF8.GetBytes($"{DateTime.UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture)} {level} {message.ReplaceLineEndings(" ")}\n");
        if (!Fd.IsWritable(s_stderr) || Fd.Write(s_stderr, line) != line.Length)
        {
            Interlocked.Increment(ref _dropped);
        }
    }
}
