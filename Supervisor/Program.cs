using Supervisor.Cli;
using Supervisor.Cli.Output;

return await CommandLine.RunAsync(args, CliConsole.Standard());
