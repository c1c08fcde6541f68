using System.Text.Json.Nodes;

namespace Supervisor.Cli.Bundles;

/// <summary>The numbers that a process runs as.</summary>
internal sealed record ContainerUser(uint Uid, uint Gid, IReadOnlyList<uint> AdditionalGids)
{
    internal static ContainerUser Root { get; } = new(0, 0, []);

    /// <summary>As the API says it.</summary>
    internal Containerd.V1.User ToMessage()
    {
        var message = new Containerd.V1.User { Uid = Uid, Gid = Gid };
        message.AdditionalGids.Add(AdditionalGids);
        return message;
    }

    /// <summary>As config.json says it.</summary>
    internal JsonObject ToJson()
    {
        var user = new JsonObject { ["uid"] = Uid, ["gid"] = Gid };
        if (AdditionalGids.Count > 0)
        {
            user["additionalGids"] = new JsonArray([.. AdditionalGids.Select(gid => (JsonNode)gid)]);
        }

        return user;
    }
}
