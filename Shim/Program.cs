using Shim.Bootstrap;

// Under a name of this kind containerd has started us (io.containerd.runc.v2-cs), and its command line is another one.
return Path.GetFileName(Environment.GetCommandLineArgs()[0]).StartsWith("containerd-shim-", StringComparison.Ordinal)
    ? ContainerdCommandLine.Run(args)
    : CommandLine.Run(args);
