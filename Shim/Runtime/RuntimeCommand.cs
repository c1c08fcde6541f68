using System.Runtime.InteropServices;

namespace Shim.Runtime;

/// <summary>
/// One call of the runtime, as data. Each factory turns one verb and its options into arguments and nothing else, so that spelling
/// can be tested without a process.
/// </summary>
internal sealed class RuntimeCommand
{
    private RuntimeCommand(RuntimeVerb verb, params IEnumerable<string> arguments)
    {
        Verb = verb;
        Arguments = [.. arguments];
    }

    internal RuntimeVerb Verb { get; }

    /// <summary>What follows the global options: the verb's name, its options, the container's id.</summary>
    internal IReadOnlyList<string> Arguments { get; }

    /// <summary>
    /// Descriptors 0 to 2 for a verb that hands them on to the container. Null: /dev/null and the error output.
    /// </summary>
    internal RuntimeStdio? Stdio { get; private init; }

    /// <summary>NAME=VALUE, beyond what every call gets.</summary>
    internal IReadOnlyList<string> Environment { get; private init; } = [];

    internal static RuntimeCommand Create(
        string id, string bundle, string pidFile, string? consoleSocket, bool noPivot, RuntimeStdio stdio, bool noNewKeyring = false) =>
        new(RuntimeVerb.Create, ["create", "--bundle", bundle, "--pid-file", pidFile,
            .. Option("--console-socket", consoleSocket), .. Flag("--no-pivot", noPivot), .. Flag("--no-new-keyring", noNewKeyring), id]) { Stdio = stdio };

    internal static RuntimeCommand Start(string id) => new(RuntimeVerb.Start, ["start", id]);

    internal static RuntimeCommand Exec(string id, string processFile, string pidFile, string? consoleSocket, RuntimeStdio stdio) =>
        new(RuntimeVerb.Exec, ["exec", "--detach", "--process", processFile, "--pid-file", pidFile,
            .. Option("--console-socket", consoleSocket), id]) { Stdio = stdio };

    internal static RuntimeCommand Pause(string id) => new(RuntimeVerb.Pause, ["pause", id]);

    internal static RuntimeCommand Resume(string id) => new(RuntimeVerb.Resume, ["resume", id]);

    internal static RuntimeCommand Update(string id, string resourcesFile) => new(RuntimeVerb.Update, ["update", "--resources", resourcesFile, id]);

    internal static RuntimeCommand State(string id) => new(RuntimeVerb.State, ["state", id]);

    internal static RuntimeCommand Features() => new(RuntimeVerb.Features, ["features"]);

    /// <param name="id">The container.</param>
    /// <param name="spec">What is wanted.</param>
    /// <param name="work">Directory for CRIU's log.</param>
    /// <param name="config">What CRIU is told past the runtime.</param>
    internal static RuntimeCommand Checkpoint(string id, CheckpointSpec spec, string work, string config) =>
        new(RuntimeVerb.Checkpoint, ["checkpoint", "--image-path", spec.ImagePath, "--work-path", work,
            .. Flag("--leave-running", !spec.Exit), .. Flag("--tcp-established", spec.OpenTcp), .. Flag("--ext-unix-sk", spec.ExternalUnixSockets),
            .. Flag("--shell-job", spec.Terminal), .. Flag("--file-locks", spec.FileLocks),
            .. spec.EmptyNamespaces.SelectMany(name => Option("--empty-ns", name)), .. Option("--manage-cgroups-mode", spec.CgroupsMode), id]) { Environment = Criu(config) };

    internal static RuntimeCommand Restore(
        string id, string bundle, string pidFile, string? consoleSocket, bool noPivot, RuntimeStdio stdio, string image, CheckpointNotes notes, string work, string config) =>
        new(RuntimeVerb.Restore, ["restore", "--detach", "--image-path", image, "--work-path", work,
            "--bundle", bundle, "--pid-file", pidFile, .. Option("--console-socket", consoleSocket), .. Flag("--no-pivot", noPivot),
            .. Flag("--tcp-established", notes.OpenTcp), .. Flag("--ext-unix-sk", notes.ExternalUnixSockets), .. Flag("--shell-job", notes.Terminal),
            .. Flag("--file-locks", notes.FileLocks), id]) { Stdio = stdio, Environment = Criu(config) };

    // The runtime hands its environment on to CRIU.
    private static string[] Criu(string config) => [$"CRIU_CONFIG_FILE={config}"];

    private static string[] Option(string name, string? value) => string.IsNullOrEmpty(value) ? [] : [name, value];

    private static string[] Flag(string name, bool wanted) => wanted ? [name] : [];

    internal static RuntimeCommand Delete(string id) => new(RuntimeVerb.Delete, ["delete", "--force", id]);
}

/// <summary>What the container's process gets as descriptors 0 to 2.</summary>
internal sealed record RuntimeStdio(SafeHandle Stdin, SafeHandle Stdout, SafeHandle Stderr);
