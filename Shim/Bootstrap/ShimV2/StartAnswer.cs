using System.Globalization;
using System.Text;
using Containerd.Bootstrap.V1;
using Google.Protobuf;

namespace Shim.Bootstrap.ShimV2;

/// <summary>
/// What <c>start</c> prints, in the words of the daemon that asked. The bare address, which means ttrpc and version 2 of the task API, is understood by every
/// containerd from 1.3 to 2.2; JSON says another protocol or version; parameters are answered in kind.
/// </summary>
/// <param name="Address">unix://, then an absolute path.</param>
/// <param name="Protocol">ttrpc or grpc.</param>
internal sealed record StartAnswer(string Address, string Protocol)
{
    /// <summary>gRPC is spoken from version 3 of the task API on.</summary>
    private const int GrpcVersion = 3;

    /// <summary>The bytes for stdout.</summary>
    /// <param name="hasParameters">The daemon sent bootstrap parameters.</param>
    /// <param name="maxVersion">What it says in MAX_SHIM_VERSION; null when it says nothing, as containerd 1.6.</param>
    internal byte[] ToBytes(bool hasParameters, string? maxVersion)
    {
        if (hasParameters)
        {
            return new BootstrapResult { Version = GrpcVersion, Address = Address, Protocol = Protocol }.ToByteArray();
        }

        if (Protocol == "ttrpc" && !int.TryParse(maxVersion, NumberStyles.None, CultureInfo.InvariantCulture, out _))
        {
            return Encoding.UTF8.GetBytes(Address);
        }

        // 1.7 refuses a version above 2, and 2.x says 2 as well although it takes 3: 2 is right for both, and gRPC needs 3.
        var version = Protocol == "ttrpc" ? 2 : GrpcVersion;
        return Encoding.UTF8.GetBytes($$"""{"version":{{version}},"address":"{{Address}}","protocol":"{{Protocol}}"}""");
    }
}
