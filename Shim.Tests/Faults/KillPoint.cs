using System.Diagnostics;
using System.IO.MemoryMappedFiles;
using System.Text;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Faults;

/// <summary>
/// Kills a supervisor or a shim before the N-th call that others could notice (a file, a socket, a child, a signal), counted from the moment when
/// the test asks for it. By a library that is preloaded into it (killpoint.c): the product has no hooks.
/// </summary>
public sealed class KillPoint : IDisposable
{
    private const int PageSize = 4096;
    private const int SeenAt = 8;
    private const int PartnerAt = 16;
    private const int KilledAt = 20;
    private const int WhereAt = 24;
    private const int WhereSize = 256;

    private readonly string _directory = TestRun.NewDirectory("killpoint");
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _page;

    /// <param name="program">The name of the executable that it is for.</param>
    public KillPoint(string program)
    {
        Machine.Require(Machine.FindInPath("gcc") is not null, "gcc is not installed (scripts/test.sh installs it)");
        var library = Path.Combine(_directory, "killpoint.so");
        using (var compiler = Process.Start("gcc", ["-shared", "-fPIC", "-O1", "-o", library, Path.Combine(AppContext.BaseDirectory, "Faults", "killpoint.c"), "-ldl"]))
        {
            Assert.That(compiler.WaitForExit(60_000) && compiler.ExitCode == 0, Is.True, "killpoint.c does not compile");
        }

        var page = Path.Combine(_directory, "page");
        File.WriteAllBytes(page, new byte[PageSize]);
        _file = MemoryMappedFile.CreateFromFile(page, FileMode.Open, null, PageSize);
        _page = _file.CreateViewAccessor();
        Environment = new Dictionary<string, string> { ["LD_PRELOAD"] = library, ["KILLPOINTS"] = page, ["KILLPOINTS_FOR"] = program };
    }

    /// <summary>What the program needs in its environment.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; }

    /// <summary>The pid of who was killed since the count began; 0 is nobody.</summary>
    public int Killed => _page.ReadInt32(KilledAt);

    /// <summary>Before which call.</summary>
    public string Where
    {
        get
        {
            var text = new byte[WhereSize];
            _page.ReadArray(WhereAt, text, 0, text.Length);
            return Encoding.UTF8.GetString(text.AsSpan(0, Math.Max(0, text.AsSpan().IndexOf((byte)0))));
        }
    }

    /// <summary>A program that becomes <paramref name="executable"/> under the influence of this, for who starts it with another environment.</summary>
    public string Wrap(string executable)
    {
        var path = Path.Combine(_directory, Path.GetFileName(executable));
        var assignments = string.Join(' ', Environment.Select(pair => $"{pair.Key}='{pair.Value}'"));
        File.WriteAllText(path, $"#!/bin/sh\nexec env {assignments} {executable} \"$@\"\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        return path;
    }

    /// <summary>From now on it is counted, and the call of that number is the last one.</summary>
    /// <param name="number">1 is the first call.</param>
    /// <param name="partner">Another process that is killed just before, if not 0.</param>
    public void Arm(long number, int partner = 0)
    {
        _page.Write(SeenAt, 0L);
        _page.Write(PartnerAt, partner);
        _page.Write(KilledAt, 0);
        _page.WriteArray(WhereAt, new byte[WhereSize], 0, WhereSize);
        Thread.MemoryBarrier();
        _page.Write(0, number);
    }

    /// <summary>Ends the count; says how far it came.</summary>
    public long Disarm()
    {
        _page.Write(0, 0L);
        Thread.MemoryBarrier();
        return _page.ReadInt64(SeenAt);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _page.Dispose();
        _file.Dispose();
        Directory.Delete(_directory, recursive: true);
    }
}
