using Containerd.TaskApi;
using Containerd.TaskApi.V2;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Shim.Runtime;
using Shim.Stdio;
using Shim.Tasks;
using CheckpointOptions = Containerd.Runc.V1.CheckpointOptions;

namespace Shim.Transport.ShimV2;

/// <summary>The domain's words in those of containerd's task API, and back.</summary>
internal static class TaskMessages
{
    /// <summary>
    /// A message with its name, as containerd packs it: no host before the name. The name is given, because asking the message for it would build the
    /// descriptors of all its file, 150 KB that a shim has no other use for; a test compares the two.
    /// </summary>
    internal static Any Pack(string name, IMessage message) => new() { TypeUrl = name, Value = message.ToByteString() };

    /// <summary>What follows the last slash of a type url.</summary>
    internal static string TypeName(string typeUrl) => typeUrl[(typeUrl.LastIndexOf('/') + 1)..];

    internal static Status ToStatus(InitState state) => state switch
    {
        InitState.Created or InitState.Restorable => Status.Created,
        InitState.Running => Status.Running,
        InitState.Paused => Status.Paused,
        InitState.Stopped => Status.Stopped,
        _ => Status.Unknown,
    };

    internal static Timestamp? ExitedAt(ExitRecord? exit) => exit is null ? null : Timestamp.FromDateTimeOffset(exit.Time);

    /// <summary>A terminal has one output: what clients name as its stderr may not even be there.</summary>
    internal static StreamAddresses ToAddresses(string stdin, string stdout, string stderr, bool terminal) =>
        new(stdin, stdout, terminal ? "" : stderr, terminal);

    internal static CheckpointSpec ToCheckpoint(CheckpointTaskRequest request, RuntimeOptions defaults)
    {
        var options = request.Options is { } any && TypeName(any.TypeUrl) == "containerd.runc.v1.CheckpointOptions"
            ? CheckpointOptions.Parser.ParseFrom(any.Value)
            : new CheckpointOptions();
        return new CheckpointSpec
        {
            ImagePath = FirstOf(request.Path, options.ImagePath, defaults.CriuImagePath),
            WorkPath = FirstOf(options.WorkPath, defaults.CriuWorkPath),
            Exit = options.Exit,
            OpenTcp = options.OpenTcp,
            ExternalUnixSockets = options.ExternalUnixSockets,
            Terminal = options.Terminal,
            FileLocks = options.FileLocks,
            EmptyNamespaces = options.EmptyNamespaces,
            CgroupsMode = options.CgroupsMode,
        };
    }

    private static string FirstOf(params ReadOnlySpan<string> texts)
    {
        foreach (var text in texts)
        {
            if (text.Length > 0)
            {
                return text;
            }
        }

        return "";
    }
}
