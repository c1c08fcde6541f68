using System.Text.Json;

namespace Supervisor.Containers;

/// <summary>One container's directory under the root: the shim's state directory and what the supervisor keeps beside it.</summary>
/// <param name="Path">The directory.</param>
/// <param name="SocketPath">The shim's socket; elsewhere when it would be too long here.</param>
internal sealed record ContainerDirectory(string Path, string SocketPath)
{
    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Events and exits as the shim wrote them down.</summary>
    internal string JournalPath => System.IO.Path.Join(Path, "journal");

    /// <summary>The shim's stdout and stderr.</summary>
    internal string ShimLogPath => System.IO.Path.Join(Path, "shim.log");

    private string RecordPath => System.IO.Path.Join(Path, "container.json");

    /// <summary>Makes the directory; false when it is there already.</summary>
    internal bool Create()
    {
        if (System.IO.Path.Exists(Path))
        {
            return false;
        }

        Directory.CreateDirectory(Path, Private | UnixFileMode.UserExecute);
        return true;
    }

    /// <summary>Replaces container.json in one step: a reader finds the old one or the new one, never a part.</summary>
    internal void Write(ContainerRecord record)
    {
        var next = RecordPath + ".new";
        if (Directory.Exists(RecordPath))
        {
            // Not ours, and it would be in the way for ever.
            Directory.Delete(RecordPath, recursive: true);
        }

        using (var file = new FileStream(next, new FileStreamOptions
        {
            Mode = FileMode.Create,
            Access = FileAccess.Write,
            UnixCreateMode = Private,
            BufferSize = 0,
        }))
        {
            file.Write(JsonSerializer.SerializeToUtf8Bytes(record, ContainerJson.Default.ContainerRecord));
        }

        File.Move(next, RecordPath, overwrite: true);
    }

    /// <summary>Reads container.json; null when it is missing or is not what we write.</summary>
    internal ContainerRecord? Read() => Read(out _);

    /// <summary>As <see cref="Read()"/>; says what is wrong with a file that is there and is not what we write.</summary>
    internal ContainerRecord? Read(out string? damage)
    {
        try
        {
            var record = JsonSerializer.Deserialize(File.ReadAllBytes(RecordPath), ContainerJson.Default.ContainerRecord);
            if (record is { Bundle.Length: > 0, Runtime.Length: > 0, RuntimeRoot.Length: > 0, Owners: not null } && record.Id == System.IO.Path.GetFileName(Path))
            {
                damage = null;
                return record;
            }

            damage = $"{RecordPath} is not about this container";
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            damage = null;
        }
        catch (JsonException e)
        {
            damage = $"{RecordPath} is damaged: {e.Message}";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            damage = $"{RecordPath} cannot be read: {e.Message}";
        }

        return null;
    }

    /// <summary>Removes everything of the container. Until this has returned, the id is taken.</summary>
    internal void Remove()
    {
        File.Delete(SocketPath);
        if (Directory.Exists(Path))
        {
            Directory.Delete(Path, recursive: true);
        }
    }
}
