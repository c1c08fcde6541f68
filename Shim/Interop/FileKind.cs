namespace Shim.Interop;

/// <summary>What a path names, from statx.</summary>
internal enum FileKind
{
    Missing,
    Regular,
    Directory,
    Fifo,
    CharacterDevice,
    Socket,
    Other,
}
