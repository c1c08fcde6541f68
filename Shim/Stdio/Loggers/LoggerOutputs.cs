using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Stdio.Loggers;

/// <summary>A logger with the streams that lead to it.</summary>
/// <param name="Logger">The program; not started yet.</param>
/// <param name="Stdout">Null when it only reads stderr.</param>
/// <param name="Stderr">Null when it only reads stdout.</param>
internal sealed record LoggerOutputs(Logger Logger, LoggerSink? Stdout, LoggerSink? Stderr)
{
    /// <summary>Makes the pipes, and checks whether the program may be run.</summary>
    /// <param name="address">Which program.</param>
    /// <param name="containerId">For the program.</param>
    /// <param name="stdout">Makes the pipe from the process's stdout; null when the program does not read that.</param>
    /// <param name="stderr">The same for stderr.</param>
    /// <param name="services">What streams stand on.</param>
    internal static LoggerOutputs Open(
        StreamAddress address,
        string containerId,
        Func<(SafeFileHandle Reader, SafeFileHandle Writer)>? stdout,
        Func<(SafeFileHandle Reader, SafeFileHandle Writer)>? stderr,
        StreamServices services)
    {
        services.LoggerDirectories.Check(address);
        var ends = new List<SafeFileHandle>();
        try
        {
            var (readOut, writeOut) = Pipe(ends);
            var (readErr, writeErr) = Pipe(ends);
            var logger = new Logger(address, containerId, services, readOut, readErr);
            var open = (stdout is null ? 0 : 1) + (stderr is null ? 0 : 1);
            return new LoggerOutputs(logger, Sink(stdout, writeOut), Sink(stderr, writeErr));

            LoggerSink? Sink(Func<(SafeFileHandle Reader, SafeFileHandle Writer)>? source, SafeFileHandle destination)
            {
                if (source is null)
                {
                    // Its end is there from the beginning.
                    destination.Dispose();
                    return null;
                }

                var pipe = source();
                ends.Add(pipe.Reader);
                ends.Add(pipe.Writer);
                return new LoggerSink(services.Loop, logger, pipe, destination, () =>
                {
                    if (Interlocked.Decrement(ref open) == 0)
                    {
                        logger.OutputEnded();
                    }
                });
            }
        }
        catch
        {
            ends.ForEach(end => end.Dispose());
            throw;
        }
    }

    /// <summary>A pipe whose writing end is ours and does not block.</summary>
    private static (SafeFileHandle Reader, SafeFileHandle Writer) Pipe(List<SafeFileHandle> ends)
    {
        var (reader, writer) = Libc.Pipe();
        ends.Add(reader);
        ends.Add(writer);
        Fd.SetNonBlocking(writer, true);
        return (reader, writer);
    }
}
