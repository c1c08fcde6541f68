using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Containerd;
using Shim.Interop;
using Shim.Processes;
using Shim.Runtime;
using Shim.Tests.Processes;

namespace Shim.Tests.Runtime;

/// <summary>Runs the runtime's wrapper in a process that may have a reaper: [runtime, verb, milliseconds until abort or -1, runtime root or ""].</summary>
internal static class RuntimeProbe
{
    internal static JsonObject Run(string[] arguments)
    {
        var (binary, verb, abortAfter, root) = (arguments[0], arguments[1], int.Parse(arguments[2], CultureInfo.InvariantCulture), arguments[3]);
        Libc.SetDefaultDisposition(Libc.SIGCHLD);
        Libc.BecomeSubreaper();
        var reaper = new Reaper(_ => { });
        ReaperThread.Start(reaper);

        // What must not reach the runtime.
        Environment.SetEnvironmentVariable("NOTIFY_SOCKET", "/run/ours");
        Environment.SetEnvironmentVariable("LISTEN_FDS", "1");
        using var leak = Fd.Open("/dev/null", Libc.O_RDWR);
        _ = Libc.Fcntl(Fd.Number(leak), Libc.F_SETFD, 0);

        var clock = Stopwatch.StartNew();
        var answer = new JsonObject();
        try
        {
            var runtime = new OciRuntime(reaper, binary, root.Length > 0 ? root : null);
            using var abort = new CancellationTokenSource();
            if (abortAfter >= 0)
            {
                abort.CancelAfter(abortAfter);
            }

            runtime.RunAsync(Command(verb), abort.Token).Wait(TimeSpan.FromSeconds(60));
            answer["kind"] = "None";
        }
        catch (AggregateException e) when (e.InnerException is TaskException failure)
        {
            answer["kind"] = failure.Kind.ToString();
            answer["message"] = failure.Message;
        }
        catch (TaskException failure)
        {
            answer["kind"] = failure.Kind.ToString();
            answer["message"] = failure.Message;
        }

        answer["seconds"] = clock.Elapsed.TotalSeconds;
        answer["left"] = Probes.Within(TimeSpan.FromSeconds(3), () => Support.HostProcess.Children(Environment.ProcessId).Count == 0)
            ? 0
            : Support.HostProcess.Children(Environment.ProcessId).Count;
        answer["collected"] = reaper.Collected;
        return answer;
    }

    private static RuntimeCommand Command(string verb)
    {
        var stdio = new RuntimeStdio(Fd.Open("/dev/zero", Libc.O_RDONLY), Fd.Open("/dev/full", Libc.O_WRONLY), Fd.Open("/dev/null", Libc.O_WRONLY));
        return verb switch
        {
            "create" => RuntimeCommand.Create("c1", "/nonexistent", "/nonexistent/pid", null, false, stdio),
            "exec" => RuntimeCommand.Exec("c1", "/nonexistent/process.json", "/nonexistent/pid", null, stdio),
            "start" => RuntimeCommand.Start("c1"),
            "pause" => RuntimeCommand.Pause("c1"),
            "delete" => RuntimeCommand.Delete("c1"),
            _ => throw new ArgumentException($"no verb {verb}"),
        };
    }
}
