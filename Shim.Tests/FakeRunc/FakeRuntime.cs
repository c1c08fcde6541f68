using Shim.Tests.Support;

namespace Shim.Tests.FakeRunc;

/// <summary>
/// A wrapper around the real runtime that misbehaves on purpose, told how by a file that can be changed at any time. Give its
/// <see cref="Path"/> to a supervisor or a shim as their runtime. runc.sh says what faults there are.
/// </summary>
public sealed class FakeRuntime : IDisposable
{
    private readonly string _directory = TestRun.NewDirectory("fakerunc");

    /// <summary>A wrapper without faults.</summary>
    public FakeRuntime()
    {
        Machine.RequireContainers();
        File.Copy(System.IO.Path.Combine(AppContext.BaseDirectory, "FakeRunc", "runc.sh"), Path);
        File.SetUnixFileMode(Path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
            | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        File.WriteAllText(System.IO.Path.Combine(_directory, "real"), Machine.Runc);
        Clear();
        ForgetCalls();
    }

    /// <summary>The program that stands in for runc.</summary>
    public string Path => System.IO.Path.Combine(_directory, "runc");

    /// <summary>Every call so far: the verb, then all arguments.</summary>
    public IReadOnlyList<string> Calls => File.ReadAllLines(CallsPath);

    private string CallsPath => System.IO.Path.Combine(_directory, "calls");

    /// <summary>How often a verb was called.</summary>
    public int CountOf(string verb) => Calls.Count(call => call.StartsWith($"{verb} ", StringComparison.Ordinal));

    /// <summary>These faults and no others from now on.</summary>
    public void Set(params string[] faults)
    {
        // By rename, so that a call that reads it just now sees all or nothing.
        var control = System.IO.Path.Combine(_directory, "control");
        File.WriteAllLines($"{control}.new", faults);
        File.Move($"{control}.new", control, overwrite: true);
    }

    /// <summary>No faults from now on.</summary>
    public void Clear() => Set();

    /// <summary>Begins a new list of calls.</summary>
    public void ForgetCalls() => File.WriteAllText(CallsPath, string.Empty);

    /// <summary>What the faults dumpfds ("fds") or dumpenv ("env") wrote for a verb, one text for each call.</summary>
    public IReadOnlyList<string> Dumps(string verb, string kind) =>
        [.. Directory.GetFiles(_directory, $"{verb}.*.{kind}").Select(File.ReadAllText)];

    /// <inheritdoc/>
    public void Dispose() => Directory.Delete(_directory, recursive: true);
}
