using Microsoft.Win32.SafeHandles;
using NUnit.Framework;
using Shim.Interop;

namespace Shim.Tests.Stdio;

/// <summary>A pseudo-terminal, made the way a runtime makes one.</summary>
internal sealed unsafe class TestTerminal
{
    private const nuint TIOCGPTN = 0x80045430;
    private const nuint TIOCSPTLCK = 0x40045431;

    internal TestTerminal()
    {
        Master = Fd.Open("/dev/ptmx", Libc.O_RDWR | Libc.O_NOCTTY);
        int locked = 0;
        int number;
        Assert.That(Libc.Ioctl(Fd.Number(Master), TIOCSPTLCK, &locked), Is.Zero);
        Assert.That(Libc.Ioctl(Fd.Number(Master), TIOCGPTN, &number), Is.Zero);
        SlavePath = $"/dev/pts/{number}";
    }

    internal SafeFileHandle Master { get; }

    internal string SlavePath { get; }
}
