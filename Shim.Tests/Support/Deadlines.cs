using System.Runtime.CompilerServices;
using NUnit.Framework;

namespace Shim.Tests.Support;

/// <summary>Awaits with a deadline, so that no test can hang; the failure names the place.</summary>
public static class Deadlines
{
    /// <summary>Awaits a task for at most <paramref name="deadline"/>.</summary>
    public static async Task<T> WithinAsync<T>(
        this Task<T> task,
        TimeSpan deadline,
        string what,
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        await ((Task)task).WithinAsync(deadline, what, file, line);
        return await task;
    }

    /// <summary>Awaits a task for at most <paramref name="deadline"/>.</summary>
    public static async Task WithinAsync(
        this Task task,
        TimeSpan deadline,
        string what,
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        deadline = Patience.Of(deadline);
        try
        {
            await task.WaitAsync(deadline);
        }
        catch (TimeoutException) when (!task.IsCompleted)
        {
            throw new AssertionException($"{what}: not within {deadline.TotalSeconds:0.###} s\n  at {file}:{line}");
        }
    }
}
