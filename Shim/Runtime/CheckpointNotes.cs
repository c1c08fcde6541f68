using System.Text.Json;
using Containerd;

namespace Shim.Runtime;

/// <summary>
/// What a restoration has to know of a checkpoint and CRIU's images do not say. Kept in a file among them, so that it goes wherever they go; images
/// that another shim has made have none.
/// </summary>
internal sealed record CheckpointNotes
{
    private const string FileName = "shim.json";

    /// <summary>What CRIU calls stdin, stdout and stderr (<see cref="CriuStreams"/>); empty where it asks for none.</summary>
    internal IReadOnlyList<string> Streams { get; init; } = [];

    /// <summary>What was permitted for the dump has to be permitted for the restoration again.</summary>
    internal bool OpenTcp { get; init; }

    internal bool ExternalUnixSockets { get; init; }

    internal bool Terminal { get; init; }

    internal bool FileLocks { get; init; }

    /// <summary>Puts them beside the images.</summary>
    internal void Write(string imagePath)
    {
        using var file = File.Create(Path.Combine(imagePath, FileName));
        using var json = new Utf8JsonWriter(file);
        json.WriteStartObject();
        json.WriteStartArray("streams"u8);
        foreach (var name in Streams)
        {
            json.WriteStringValue(name);
        }

        json.WriteEndArray();
        json.WriteBoolean("openTcp"u8, OpenTcp);
        json.WriteBoolean("externalUnixSockets"u8, ExternalUnixSockets);
        json.WriteBoolean("terminal"u8, Terminal);
        json.WriteBoolean("fileLocks"u8, FileLocks);
        json.WriteEndObject();
    }

    /// <summary>What <see cref="Write"/> kept; nothing where there is none. InvalidArgument for what it would not have written.</summary>
    internal static CheckpointNotes Read(string imagePath)
    {
        var path = Path.Combine(imagePath, FileName);
        try
        {
            var root = JsonElement.Parse(File.ReadAllBytes(path));
            var notes = new CheckpointNotes
            {
                Streams = [.. root.GetProperty("streams"u8).EnumerateArray().Select(name => name.GetString() ?? "")],
                OpenTcp = root.GetProperty("openTcp"u8).GetBoolean(),
                ExternalUnixSockets = root.GetProperty("externalUnixSockets"u8).GetBoolean(),
                Terminal = root.GetProperty("terminal"u8).GetBoolean(),
                FileLocks = root.GetProperty("fileLocks"u8).GetBoolean(),
            };

            // They become lines of a configuration, in which programs to be run could be named.
            return notes.Streams.Count == CriuStreams.Count && notes.Streams.All(CriuStreams.IsName)
                ? notes
                : throw new FormatException("the streams have other names than CRIU gives");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return new CheckpointNotes();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw TaskException.Invalid($"cannot read {path} of a checkpoint: {e.Message}", e);
        }
    }
}
