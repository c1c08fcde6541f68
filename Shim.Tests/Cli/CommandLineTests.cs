extern alias SupervisorAssembly;

using NUnit.Framework;
using SupervisorAssembly::Supervisor.Cli;
using SupervisorAssembly::Supervisor.Cli.Output;

namespace Shim.Tests.Cli;

/// <summary>What a typed line means, verb by verb, without running it.</summary>
public sealed class CommandLineTests
{
    private static readonly string[] s_verbs =
    [
        "serve", "run", "create", "start", "exec", "kill", "pause", "resume", "update", "delete", "list", "inspect", "ps", "logs", "attach", "wait",
        "events", "stats", "resize", "info", "version", "shim",
    ];

    private static readonly string[] s_shimVerbs =
        ["create", "start", "exec", "state", "events", "kill", "pty", "pause", "resume", "delete", "wait", "dump"];

    [Test]
    public void Verbs_AreThoseOfTheContract()
    {
        var root = CommandLine.Build(Silent());

        Assert.That(root.Subcommands.Select(verb => verb.Name), Is.EqualTo(s_verbs));
        Assert.That(root.Subcommands.Single(verb => verb.Name == "shim").Subcommands.Select(verb => verb.Name), Is.EqualTo(s_shimVerbs));
        Assert.That(root.Subcommands.Single(verb => verb.Name == "list").Aliases, Is.EqualTo(new[] { "ls" }));
        Assert.That(root.Subcommands.Single(verb => verb.Name == "delete").Aliases, Is.EqualTo(new[] { "rm" }));
    }

    [TestCase("serve --root /r --socket /s --shim /x --runtime crun --runtime-root /rr --log-level none --log-format json --metrics 127.0.0.1:9")]
    [TestCase("run --rootfs /r x")]
    [TestCase("run -d -t --bundle /b --env A=B --env C --cwd /tmp --user 1:2 x sh -c 'exit 3'")]
    [TestCase("run -it --rm --rootfs=/r x")]
    [TestCase("run --rm --rootfs /r true false")]
    [TestCase("create --bundle /b x")]
    [TestCase("create -d -i -t --rootfs /b x sleep 3")]
    [TestCase("start x")]
    [TestCase("exec x ps -ef")]
    [TestCase("exec -it -e A=B x sh")]
    [TestCase("kill x")]
    [TestCase("kill -s RTMIN+3 --pid 12 x")]
    [TestCase("kill --all --signal 9 x")]
    [TestCase("pause x")]
    [TestCase("resume x")]
    [TestCase("update --bundle /b x")]
    [TestCase("delete --force x y z")]
    [TestCase("rm x")]
    [TestCase("list --owner a --owner b")]
    [TestCase("--output json ls")]
    [TestCase("inspect x --output table")]
    [TestCase("ps x")]
    [TestCase("run -d --log log:///var/x.log?max-size=1m --rootfs /r x")]
    [TestCase("run -d --log none --rootfs /r x")]
    [TestCase("create --log binary:///usr/bin/logger?a=b --rootfs /r x")]
    [TestCase("run -it --detach-keys ctrl-],q --rootfs /r x sh")]
    [TestCase("exec -it --detach-keys q x sh -c ls")]
    [TestCase("logs x")]
    [TestCase("logs -f --tail 10 --since 1h30m --until 2026-11-24T10:00:00Z -t x")]
    [TestCase("logs -n all --timestamps --follow x")]
    [TestCase("logs --reopen x")]
    [TestCase("attach x")]
    [TestCase("attach --no-stdin --detach-keys ctrl-a,d --pid 3 x")]
    [TestCase("wait --pid 3 x")]
    [TestCase("events --since 0 --id x --no-follow")]
    [TestCase("stats")]
    [TestCase("stats --no-stream x y")]
    [TestCase("resize --pid 3 80x24 x")]
    [TestCase("info --socket /s")]
    [TestCase("version")]
    [TestCase("shim --socket /s state")]
    [TestCase("shim create --socket /s --bundle /b -t --stdin /i --stdout /o --stderr /e x")]
    [TestCase("shim exec --socket /s --user 1:2 --cwd /tmp sh -c 'ls -la'")]
    [TestCase("shim kill --socket /s -s HUP --pid 3")]
    [TestCase("shim pty --socket /s --pid 3 80x24")]
    [TestCase("shim wait --socket /s")]
    [TestCase("shim events --socket /s --since 3 --no-follow")]
    public void Line_OfTheContract_Parses(string line)
    {
        var parse = CommandLine.Parse(CommandLine.Build(Silent()), Words(line));

        Assert.That(parse.Errors.Select(error => error.Message), Is.Empty);
    }

    [TestCase("run x", "--bundle or --rootfs")]
    [TestCase("run --rootfs /a --bundle /b x", "--bundle or --rootfs")]
    [TestCase("run --rootfs /a", "argument")]
    [TestCase("run -d --rm --rootfs /a x", "--rm needs the foreground")]
    [TestCase("run --rootfs /a --cwd tmp x", "absolute path")]
    [TestCase("run --rootfs /a --env =B x", "K=V")]
    [TestCase("exec x", "argument")]
    [TestCase("exec -d -i x sh", "-i needs the foreground")]
    [TestCase("kill -s NOPE x", "not a signal")]
    [TestCase("kill -s 0 x", "not a signal")]
    [TestCase("kill -s 65 x", "not a signal")]
    [TestCase("kill --all --pid 3 x", "exclude each other")]
    [TestCase("kill --pid many x", "many")]
    [TestCase("update x", "--bundle")]
    [TestCase("resize --pid 3 80 x", "size")]
    [TestCase("resize --pid 3 0x24 x", "size")]
    [TestCase("resize --pid 3 80x65536 x", "size")]
    [TestCase("resize 80x24 x", "--pid")]
    [TestCase("list --output xml", "table or json")]
    [TestCase("serve --log-level loud", "--log-level is one of")]
    [TestCase("events --since soon", "soon")]
    [TestCase("frobnicate x", "frobnicate")]
    [TestCase("run --log none --rootfs /r x", "--log goes with -d")]
    [TestCase("run -d --log web.log --rootfs /r x", "--log 'web.log' is neither")]
    [TestCase("run -it --detach-keys ctrl-1 --rootfs /r x", "'ctrl-1' are no keys")]
    [TestCase("logs --tail some x", "'some' is not a number of lines")]
    [TestCase("logs --tail -3 x", "'-3'")]
    [TestCase("logs --since soon x", "'soon' is not a time")]
    [TestCase("logs --until 10x x", "'10x' is not a time")]
    [TestCase("logs --reopen -f x", "--reopen prints nothing")]
    [TestCase("logs", "argument")]
    [TestCase("attach --detach-keys '' --pid some x", "some")]
    [TestCase("shim exec --socket /s --user root sh", "UID")]
    public async Task Line_ThatIsWrong_ExitsWith125AndSaysWhy(string line, string cause)
    {
        using var error = new StringWriter();
        using var output = new StringWriter();

        var exitCode = await CommandLine.RunAsync(Words(line), new CliConsole(output, error, isTerminal: false));

        Assert.That(exitCode, Is.EqualTo(125));
        Assert.That(output.ToString(), Is.Empty);
        Assert.That(error.ToString().Split('\n')[0], Does.StartWith("supervisor: ").And.Contain(cause));
        Assert.That(error.ToString(), Does.Contain("--help` explains it"));
    }

    [TestCase("run --rootfs /r x -- sh -c ls", "run --rootfs /r x -- sh -c ls")]
    [TestCase("run --rootfs /r x sh -c ls", "run --rootfs /r x -- sh -c ls")]
    [TestCase("run -t --rootfs /r x --version", "run -t --rootfs /r x -- --version")]
    [TestCase("run -te A=B --rootfs=/r x -it", "run -te A=B --rootfs=/r x -- -it")]
    [TestCase("--socket /s run --rootfs /r x -it", "--socket /s run --rootfs /r x -- -it")]
    [TestCase("run --socket /s --rootfs /r x", "run --socket /s --rootfs /r x")]
    [TestCase("exec x exec -h", "exec x -- exec -h")]
    [TestCase("exec -u nobody -w /tmp x id --socket /s", "exec -u nobody -w /tmp x -- id --socket /s")]
    [TestCase("shim exec --socket /s ls -l", "shim exec --socket /s -- ls -l")]
    [TestCase("delete run sh -c", "delete run sh -c")]
    [TestCase("run --help", "run --help")]
    public void Separator_IsPutWhereTheCommandBegins(string line, string expected) =>
        Assert.That(SupervisorAssembly::Supervisor.Cli.Parsing.CommandSeparator.Insert(CommandLine.Build(Silent()), Words(line)), Is.EqualTo(Words(expected)));

    [Test]
    public void Command_ThatLooksLikeOptions_IsTakenAsItStands()
    {
        var root = CommandLine.Build(Silent());
        var parse = CommandLine.Parse(root, ["run", "--rm", "--rootfs", "/r", "x", "@file", "--rm", "-h", "--socket", "y"]);

        Assert.That(parse.Errors, Is.Empty);
        Assert.That(parse.GetValue<string>("ID"), Is.EqualTo("x"));
        Assert.That(parse.GetValue<string[]>("COMMAND"), Is.EqualTo(new[] { "@file", "--rm", "-h", "--socket", "y" }));
        Assert.That(parse.GetValue<string>("--socket"), Is.Null);
    }

    [Test]
    public void Serve_Options_ReachTheDaemon()
    {
        var root = CommandLine.Build(Silent());
        var serve = (ServeVerb)root.Subcommands.Single(verb => verb.Name == "serve");

        var options = serve.OptionsOf(
            CommandLine.Parse(root, Words("serve --root /r --shim /x/shim --runtime crun --runtime-root /rr --log-level warning --log-format json --metrics unix:/m --log-dir /l --log-dir /m --logger-dir /n")),
            "/s/sock");
        var defaults = serve.OptionsOf(CommandLine.Parse(root, ["serve"]), socket: null);

        Assert.Multiple(() =>
        {
            Assert.That(options.Root, Is.EqualTo("/r"));
            Assert.That(options.Socket, Is.EqualTo("/s/sock"));
            Assert.That(options.Shim, Is.EqualTo("/x/shim"));
            Assert.That(options.Runtime, Is.EqualTo("crun"));
            Assert.That(options.RuntimeRoot, Is.EqualTo("/rr"));
            Assert.That(options.LogLevel.ToString(), Is.EqualTo("Warning"));
            Assert.That(options.LogFormat.ToString(), Is.EqualTo("Json"));
            Assert.That(options.Metrics, Is.EqualTo("unix:/m"));
            Assert.That(options.LogDirectories, Is.EqualTo(new[] { "/l", "/m" }));
            Assert.That(options.LoggerDirectories, Is.EqualTo(new[] { "/n" }));
            Assert.That(defaults.Root, Is.EqualTo("/run/supervisor"));
            Assert.That(defaults.Socket, Is.Null);
            Assert.That(defaults.Runtime, Is.EqualTo("runc"));
            Assert.That(defaults.LogLevel.ToString(), Is.EqualTo("Information"));
        });
    }

    [Test]
    public async Task Help_OfEveryVerb_NamesItsUsageAndHasAnExample()
    {
        foreach (var line in s_verbs.Where(verb => verb != "shim").Concat(s_shimVerbs.Select(verb => $"shim {verb}")))
        {
            using var output = new StringWriter();
            var exitCode = await CommandLine.RunAsync(Words($"{line} --help"), new CliConsole(output, TextWriter.Null, isTerminal: false));

            Assert.That(exitCode, Is.Zero, line);
            Assert.That(output.ToString(), Does.Contain($"Usage: supervisor {line}").And.Contain("Examples:"), line);
            Assert.That(output.ToString().Split('\n').Where(text => text.Length > 130), Is.Empty, line);
        }
    }

    [TestCase("run --rm --rootfs / x")]
    [TestCase("run --bundle / x")]
    [TestCase("create --rootfs / x")]
    [TestCase("exec x true")]
    [TestCase("exec --user root x true")]
    [TestCase("wait x")]
    [TestCase("logs -f x")]
    [TestCase("logs --reopen x")]
    [TestCase("attach x")]
    [TestCase("delete x")]
    [TestCase("delete --force x")]
    [TestCase("stats")]
    [TestCase("events")]
    [TestCase("inspect x")]
    public async Task Verb_WithoutADaemon_FailsAtOnce(string line)
    {
        using var error = new StringWriter();

        var exitCode = await CommandLine.RunAsync(["--socket", "/nowhere/supervisor.sock", .. Words(line)], new CliConsole(TextWriter.Null, error, isTerminal: false))
            .WaitAsync(TimeSpan.FromSeconds(20));

        Assert.That(exitCode, Is.EqualTo(125));
        Assert.That(error.ToString(), Does.Contain("nobody serves /nowhere/supervisor.sock").And.Contain("supervisor serve"));
    }

    [Test]
    public async Task Call_WithoutADaemon_SaysHowToStartIt()
    {
        using var error = new StringWriter();

        var exitCode = await CommandLine.RunAsync(["--socket", "/nowhere/supervisor.sock", "list"], new CliConsole(TextWriter.Null, error, isTerminal: false));

        Assert.That(exitCode, Is.EqualTo(125));
        Assert.That(error.ToString(), Is.EqualTo(
            "supervisor: list: nobody serves /nowhere/supervisor.sock: no such file or directory\n"
            + "hint: start the daemon with `supervisor serve --socket /nowhere/supervisor.sock`, or say where it listens with --socket or SUPERVISOR_SOCKET\n"));
    }

    [Test]
    public async Task Socket_PathTooLong_IsAnErrorNotACrash()
    {
        using var error = new StringWriter();

        var exitCode = await CommandLine.RunAsync(["--socket", $"/{new string('x', 107)}", "list"], new CliConsole(TextWriter.Null, error, isTerminal: false));

        Assert.That(exitCode, Is.EqualTo(125));
        Assert.That(error.ToString(), Does.Contain("too long for a socket"));
    }

    private static CliConsole Silent() => new(TextWriter.Null, TextWriter.Null, isTerminal: false);

    // As a shell would: single quotes keep words together.
    private static string[] Words(string line) =>
        [.. System.CommandLine.Parsing.CommandLineParser.SplitCommandLine(line.Replace('\'', '"'))];
}
