using Containerd;
using Containerd.V1;
using StreamAddress = Supervisor.Containers.StreamAddress;
using ShimContract = Containerd.Shim.V1;
using ContainerEntry = Supervisor.Containers.Container;

namespace Supervisor.Api;

/// <summary>Between what the supervisor knows and what the public messages say.</summary>
internal static class Translation
{
    private const uint MaxSignal = 64;

    /// <summary>A container for ExecutionService.</summary>
    internal static Container ToMessage(this ContainerEntry container) => new()
    {
        Id = container.Id,
        Bundle = container.Record?.Bundle ?? "",
        Status = container.Status,
    };

    /// <summary>A process for ExecutionService.</summary>
    internal static Process ToProcess(this ProcessDetails details)
    {
        var process = new Process
        {
            Pid = details.Pid,
            User = details.User,
            Cwd = details.Cwd,
            Terminal = details.Terminal,
            ExitStatus = details.Exit?.Status ?? 0,
        };
        process.Args.AddRange(details.Args);
        process.Env.AddRange(details.Env);
        return process;
    }

    /// <summary>What the shim is to run for a StartProcess. Fields that are left empty stay empty: the shim fills them from the bundle.</summary>
    internal static ShimContract.ExecRequest ToShim(this StartProcessRequest request)
    {
        var process = request.Process ?? new Process();
        StreamAddress.Check(request.Stdin, "stdin");
        StreamAddress.Check(request.Stdout, "stdout");
        StreamAddress.Check(request.Stderr, "stderr");
        CheckText(process.Cwd, "cwd");
        var exec = new ShimContract.ExecRequest
        {
            Terminal = request.Console || process.Terminal,
            Stdin = request.Stdin,
            Stdout = request.Stdout,
            Stderr = request.Stderr,
            Cwd = process.Cwd,
        };
        foreach (var argument in process.Args)
        {
            CheckText(argument, "argument");
            exec.Args.Add(argument);
        }

        foreach (var variable in process.Env)
        {
            CheckText(variable, "environment variable");
            exec.Env.Add(variable);
        }

        if (process.User is { } user)
        {
            exec.User = new ShimContract.User { Uid = user.Uid, Gid = user.Gid };
            exec.User.AdditionalGids.AddRange(user.AdditionalGids);
        }

        return exec;
    }

    /// <summary>Refuses a signal number that no process can receive.</summary>
    internal static void CheckSignal(uint signal)
    {
        if (signal is 0 or > MaxSignal)
        {
            throw TaskException.Invalid($"signal {signal} does not exist: it must be 1 to {MaxSignal}");
        }
    }

    /// <summary>Refuses pid 0 where it would mean another process than the caller thinks.</summary>
    internal static void CheckPid(uint pid)
    {
        if (pid is 0 or > int.MaxValue)
        {
            throw TaskException.Invalid($"pid {pid} cannot be a process of a container");
        }
    }

    private static void CheckText(string text, string what)
    {
        if (text.Contains('\0', StringComparison.Ordinal))
        {
            throw TaskException.Invalid($"the {what} contains a NUL byte");
        }
    }
}
