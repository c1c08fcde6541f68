using System.Globalization;
using Shim.Interop;

namespace Shim.Processes;

/// <summary>
/// How readily the kernel ends this process when the machine runs out of memory (oom_score_adj). A service manager or a daemon may
/// have protected the shim, or offered it; that is inherited, and neither a runtime nor what it starts should have it: a container which is
/// protected like its shim makes the kernel end somebody else.
/// </summary>
internal static class OomScore
{
    private const string File = "/proc/self/oom_score_adj";

    // Looked at before the first child: until then whoever started us may still set it.
    private static readonly Lazy<int> s_ours = new(static () =>
        int.TryParse(ProcFs.Read(File), NumberStyles.AllowLeadingSign | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture, out var score) ? score : 0);

    /// <summary>
    /// Takes the score of any process until the result is disposed of: what is started meanwhile has that. For one caller at a time.
    /// </summary>
    internal static Pause Drop()
    {
        if (s_ours.Value != 0)
        {
            Write(0);
        }

        return new Pause(s_ours.Value);
    }

    // Going back is allowed without any capability, since it was no lower before. A refusal costs the score and nothing else.
    private static void Write(int score)
    {
        try
        {
            using var file = Fd.Open(File, Libc.O_WRONLY);
            Fd.WriteAll(file, System.Text.Encoding.ASCII.GetBytes(score.ToString(CultureInfo.InvariantCulture)));
        }
        catch (NativeException)
        {
            // As said.
        }
    }

    /// <summary>The time without a score of our own.</summary>
    internal readonly ref struct Pause(int before)
    {
        /// <summary>Takes it back.</summary>
        public void Dispose()
        {
            if (before != 0)
            {
                Write(before);
            }
        }
    }
}
