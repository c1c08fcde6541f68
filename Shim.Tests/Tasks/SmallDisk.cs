using System.Diagnostics;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Tasks;

/// <summary>A file system of a few pages that can be filled and emptied.</summary>
internal sealed class SmallDisk : IDisposable
{
    private readonly string _directory = TestRun.NewDirectory("disk");
    private bool _mounted;

    /// <param name="kilobytes">Its size.</param>
    /// <param name="files">How many files and directories it may have, its root included; 0 for any number.</param>
    internal SmallDisk(int kilobytes, int files = 0)
    {
        Machine.Require(Environment.IsPrivilegedProcess, "mounting needs root");
        Call("mount", "-t", "tmpfs", "-o", $"size={kilobytes}k,nr_inodes={files}", "shim-tests", _directory);
        _mounted = true;
    }

    internal string File(string name) => System.IO.Path.Combine(_directory, name);

    /// <summary>Takes all the space that is left, but for so many bytes of the last page of other files.</summary>
    internal void Fill()
    {
        using var filler = new FileStream(File("filler"), FileMode.Append);
        try
        {
            while (true)
            {
                filler.Write(new byte[4096]);
                filler.Flush();
            }
        }
        catch (IOException)
        {
            // Full.
        }
    }

    /// <summary>The directory that it is mounted on.</summary>
    internal string Path => _directory;

    internal void Empty() => System.IO.File.Delete(File("filler"));

    public void Dispose()
    {
        if (_mounted)
        {
            Call("umount", "-l", _directory);
        }

        Directory.Delete(_directory);
    }

    private static void Call(string program, params string[] arguments)
    {
        using var process = Process.Start(program, arguments);
        Assert.That(process.WaitForExit(10_000) && process.ExitCode == 0, Is.True, program);
    }
}
