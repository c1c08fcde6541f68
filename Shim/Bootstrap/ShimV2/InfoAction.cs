using Containerd;
using Containerd.Types;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Shim.Processes;
using Shim.Runtime;
using Shim.Transport.ShimV2;

namespace Shim.Bootstrap.ShimV2;

/// <summary><c>-info</c>: what this shim and its runtime are and can do. From containerd 2.0 on.</summary>
internal static class InfoAction
{
    private const string FeaturesType = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

    /// <summary>Does it and returns the bytes for stdout.</summary>
    /// <param name="name">The runtime's name in containerd.</param>
    /// <param name="input">What came on stdin.</param>
    internal static byte[] Run(string name, byte[] input)
    {
        // Before there is another thread that would take them.
        Signals.Block();
        RuntimeRequest request;
        try
        {
            request = RuntimeRequest.Parser.ParseFrom(input);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidDataException($"stdin holds no request: {e.Message}", e);
        }

        var info = new RuntimeInfo { Name = name, Version = new RuntimeVersion { Version = Build.Version }, Options = request.Options };
        if (Features(OptionsMessage.From(request.Options)) is { } features)
        {
            info.Features = new Any { TypeUrl = FeaturesType, Value = ByteString.CopyFrom(features) };
        }

        return info.ToByteArray();
    }

    // A runtime from before 1.1 of the specification knows no such verb.
    private static byte[]? Features(RuntimeOptions options)
    {
        var reaper = new Reaper(_ => { });
        reaper.Start();
        try
        {
            var runtime = new OciRuntime(reaper, options.Binary, null);
            return runtime.FeaturesAsync().GetAwaiter().GetResult();
        }
        catch (TaskException e) when (e.Kind != ErrorKind.InvalidArgument)
        {
            return null;
        }
    }
}
