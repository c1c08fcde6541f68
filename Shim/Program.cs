using Shim.Bootstrap;

// Under a name of this kind containerd has started us (io.containerd.runc.v2-cs), and its command line is another one.
var name = Path.GetFileName(Environment.GetCommandLineArgs()[0]);
return name.StartsWith("containerd-shim-", StringComparison.Ordinal) ? ContainerdCommandLine.Run(name, args) : CommandLine.Run(args);
