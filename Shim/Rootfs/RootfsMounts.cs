using Containerd;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;
using Shim.Processes;

namespace Shim.Rootfs;

/// <summary>
/// Mounts and unmounts the root file system of a container, as containerd's snapshotters describe it. All of it or nothing; never longer than
/// a time limit; and what a container or an image has put in the way is not followed.
/// </summary>
internal static class RootfsMounts
{
    // A dead network file system must not hold up anything but the container that wants it.
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_busyInterval = TimeSpan.FromMilliseconds(20);
    private const int MaxRounds = 20;

    private const int StackBytes = 128 * 1024;
    private const UnixFileMode TargetMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
        | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    // Programs that mount what the kernel alone cannot; the type says which and, after the dot, what for.
    private static readonly string[] s_helpers = ["mount.fuse3", "mount.fuse"];

    /// <summary>Mounts them in their order on <paramref name="target"/>, which is made if need be. When this throws, nothing is mounted there.</summary>
    /// <param name="reaper">Starts the programs that some types need.</param>
    /// <param name="mounts">What to mount.</param>
    /// <param name="target">The root file system's directory.</param>
    internal static async Task MountAsync(Reaper reaper, IReadOnlyList<MountSpec> mounts, string target)
    {
        var parsed = mounts.Select(mount => (Mount: mount, Options: MountOptions.Parse(mount.Options))).ToList();
        try
        {
            Directory.CreateDirectory(target, TargetMode);
            foreach (var (mount, options) in parsed)
            {
                await (HelperFor(mount, options) is { } helper
                    ? RunAsync(reaper, helper, mount, Resolve(target, mount.Target))
                    : OnThreadAsync(() => Mount(mount, options, target))).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or TaskException)
        {
            UnmountAll(target);
            throw e is TaskException ? e : new TaskException(ErrorKind.Precondition, $"cannot mount the root file system {target}: {e.Message}", e);
        }
    }

    /// <summary>Unmounts everything at and below <paramref name="target"/>. What is still in use is taken out of sight, and ends with its last user.</summary>
    internal static void UnmountAll(string target)
    {
        for (var round = 0; round < MaxRounds; round++)
        {
            // The last mount first: one may lie over another.
            var points = PointsBelow(target);
            if (points.Count == 0)
            {
                return;
            }

            var detach = round >= MaxRounds / 2;
            var any = false;
            foreach (var point in points)
            {
                any |= Libc.Unmount(point, detach);
            }

            if (!any)
            {
                Thread.Sleep(s_busyInterval);
            }
        }
    }

    /// <summary>Where something is mounted at or below a directory, newest first.</summary>
    private static List<string> PointsBelow(string target)
    {
        var root = Path.TrimEndingDirectorySeparator(Path.GetFullPath(target));
        var points = new List<string>();
        foreach (var line in (ProcFs.Read("/proc/self/mountinfo") ?? "").Split('\n'))
        {
            if (line.Split(' ', 6) is [_, _, _, _, var field, _] && ProcFs.UnescapeMountPoint(field) is var point
                && (point == root || point.StartsWith(root + "/", StringComparison.Ordinal)))
            {
                points.Add(point);
            }
        }

        points.Reverse();
        return points;
    }

    private static void Mount(MountSpec mount, MountOptions options, string root)
    {
        var target = Resolve(root, mount.Target);
        var (data, directory) = mount.Type == "overlay" ? OverlayPaths.Join(options.Data) : (string.Join(',', options.Data), null);
        if (System.Text.Encoding.UTF8.GetByteCount(data) >= OverlayPaths.MaxData)
        {
            throw TaskException.Invalid($"the options of the {mount.Type} on {target} need {data.Length} bytes, more than the {OverlayPaths.MaxData} that mount takes");
        }

        if (directory is not null)
        {
            // This thread is ours alone and ends with the mount.
            Libc.EnterDirectoryAlone(directory);
        }

        if ((options.Flags & Libc.MS_REMOUNT) == 0 || data.Length > 0)
        {
            Libc.Mount(mount.Source, target, mount.Type, options.Flags, data.Length > 0 ? data : null);
        }

        if (options.Propagation != 0)
        {
            Libc.Mount("", target, "", options.Propagation, null);
        }

        // A bind mount takes its flags in a second step only.
        if ((options.Flags & (Libc.MS_BIND | Libc.MS_RDONLY)) == (Libc.MS_BIND | Libc.MS_RDONLY))
        {
            Libc.Mount("", target, "", options.Flags | Libc.MS_REMOUNT, null);
        }
    }

    /// <summary>A place in the root file system, where a link of the image leads nowhere else than it would in the container.</summary>
    private static string Resolve(string root, string target)
    {
        if (target.Trim('/').Length == 0)
        {
            return root;
        }

        using var directory = Fd.Open(root, Libc.O_PATH | Libc.O_DIRECTORY);
        using var place = Libc.OpenInRoot(directory, target) ?? throw TaskException.Invalid($"cannot mount on {target}: the root file system {root} has no such place");
        return File.ResolveLinkTarget($"/proc/self/fd/{Fd.Number(place)}", returnFinalTarget: false)?.FullName
            ?? throw TaskException.Invalid($"cannot mount on {target}: it is not in the root file system {root}");
    }

    private static string? HelperFor(MountSpec mount, MountOptions options) =>
        options.Loop ? "mount" : s_helpers.FirstOrDefault(helper => mount.Type.StartsWith(helper["mount.".Length..] + ".", StringComparison.Ordinal));

    private static async Task RunAsync(Reaper reaper, string helper, MountSpec mount, string target)
    {
        var type = helper == "mount" ? mount.Type : mount.Type[(helper.Length - "mount.".Length + 1)..];
        List<string> arguments = [helper, mount.Source, target, "-t", type];
        if (mount.Options.Count > 0)
        {
            arguments.AddRange(["-o", string.Join(',', mount.Options)]);
        }

        using var nothing = Fd.Open("/dev/null", Libc.O_RDWR);
        using var output = Fd.Memory("mount");
        var child = reaper.Spawn(new SpawnRequest
        {
            Path = SearchPath.Find(helper) ?? throw TaskException.Precondition($"cannot mount {mount.Type}: {helper} is not installed"),
            Arguments = arguments,
            Environment = [$"PATH={SearchPath.Value}"],
            Stdin = nothing,
            Stdout = output,
            Stderr = output,
            NewProcessGroup = true,
        });
        try
        {
            var exit = await child.Exit.WithinAsync(s_limit).ConfigureAwait(false);
            if (exit.Status.Code != 0)
            {
                throw TaskException.Precondition($"{string.Join(' ', arguments)}: {Text(output, exit)}");
            }
        }
        catch (TimeoutException)
        {
            child.KillGroup();
            throw TaskException.Timeout($"{string.Join(' ', arguments)} did not end within {s_limit.TotalSeconds:0} s");
        }
    }

    private static string Text(SafeFileHandle output, ChildExit exit)
    {
        var bytes = new byte[4096];
        var text = System.Text.Encoding.UTF8.GetString(bytes.AsSpan(0, RandomAccess.Read(output, bytes, 0))).Trim();
        return text.Length > 0 ? text : $"exit status {exit.Status.Code}";
    }

    /// <summary>mount(2) can hang in the kernel: it gets a thread that can be left to it.</summary>
    private static async Task OnThreadAsync(Action mount)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(
            () =>
            {
                try
                {
                    mount();
                    done.SetResult();
                }
                catch (Exception e)
                {
                    done.SetException(e);
                }
            },
            StackBytes) { IsBackground = true, Name = "mount" }.Start();
        try
        {
            await done.Task.WithinAsync(s_limit).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            _ = done.Task.ContinueWith(static late => _ = late.Exception, TaskScheduler.Default);
            throw TaskException.Timeout($"mounting the root file system did not end within {s_limit.TotalSeconds:0} s");
        }
    }
}
