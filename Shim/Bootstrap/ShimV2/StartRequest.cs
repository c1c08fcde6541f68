using Containerd.Bootstrap.V1;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;

namespace Shim.Bootstrap.ShimV2;

/// <summary>
/// What comes on the stdin of <c>start</c>: nothing, the runtime's options as an Any (containerd up to 2.2), or parameters (2.3 and later). Nothing on the
/// wire says which; both have a string as their first field, but only an Any's names a type.
/// </summary>
/// <param name="Options">The runtime's options, if there are any.</param>
/// <param name="Parameters">Null from a daemon that knows none.</param>
internal sealed record StartRequest(Any? Options, BootstrapParams? Parameters)
{
    private static readonly string[] s_optionTypes = ["containerd.runc.v1.Options", "runtimeoptions.v1.Options", "containerd.runtimeoptions.v1.Options"];

    /// <summary>Where the daemon wants the socket; null where it does not care.</summary>
    internal string? SocketDirectory => Parameters is { SocketDir: { Length: > 0 } directory } ? directory : null;

    /// <summary>Understands the bytes; InvalidDataException when they are neither.</summary>
    internal static StartRequest Parse(byte[] input)
    {
        if (input.Length == 0)
        {
            return new StartRequest(null, null);
        }

        if (TryParse(Any.Parser, input) is { } any && IsOptions(any))
        {
            return new StartRequest(any, null);
        }

        return TryParse(BootstrapParams.Parser, input) is { InstanceId.Length: > 0 } parameters
            ? new StartRequest(parameters.Extensions.Select(extension => extension.Value).FirstOrDefault(value => value is not null && IsOptions(value)), parameters)
            : throw new InvalidDataException("stdin holds neither options nor bootstrap parameters");
    }

    private static bool IsOptions(Any any) =>
        s_optionTypes.Contains(Transport.ShimV2.TaskMessages.TypeName(any.TypeUrl)) || any.TypeUrl.Contains("types.containerd.io/", StringComparison.Ordinal);

    private static T? TryParse<T>(MessageParser<T> parser, byte[] input)
        where T : class, IMessage<T>
    {
        try
        {
            return parser.ParseFrom(input);
        }
        catch (InvalidProtocolBufferException)
        {
            return null;
        }
    }
}
