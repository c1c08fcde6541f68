using Shim.Tests.Processes;

// `dotnet test` loads this assembly and never comes here. What does is Probe.RunAsync: a child process for tests of process-global state.
return args is ["probe", var name, .. var arguments]
    ? Probes.Run(name, arguments)
    : Fail("this is a test program: run it with `dotnet test` or scripts/test.sh");

static int Fail(string message)
{
    Shim.Bootstrap.CommandLine.Print(2, $"{message}\n");
    return 125;
}
