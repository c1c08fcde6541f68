using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using NUnit.Framework;
using Shim.Interop;
using Shim.Processes;
using Shim.Tests.Support;

namespace Shim.Tests.Interop;

/// <summary>
/// What we declare of libc and the kernel, compared with what the C compiler of this machine says. Constants are found by their
/// names, so that a new one is compared without a new test.
/// </summary>
public sealed class AbiTests
{
    private const BindingFlags AnyStatic = BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic;

    private static readonly string[] s_headers =
    [
        "errno.h", "fcntl.h", "malloc.h", "poll.h", "sched.h", "signal.h", "spawn.h", "stddef.h", "stdio.h", "stdlib.h", "termios.h", "unistd.h",
        "linux/magic.h", "linux/openat2.h", "sys/epoll.h", "sys/eventfd.h", "sys/file.h", "sys/inotify.h", "sys/ioctl.h", "sys/mman.h", "sys/mount.h",
        "sys/prctl.h", "sys/resource.h", "sys/signalfd.h", "sys/socket.h", "sys/stat.h", "sys/statfs.h", "sys/syscall.h", "sys/types.h", "sys/uio.h",
        "sys/un.h", "sys/vfs.h", "sys/wait.h",
    ];

    private static readonly Dictionary<string, string> s_expressions = Expressions();
    private static Dictionary<string, long> s_native = [];

    [OneTimeSetUp]
    public static void AskTheCompiler() => s_native = Evaluate(s_expressions);

    [Test]
    public void Constants_AllThatHaveNativeNames_AsInTheHeaders()
    {
        var ours = Constants().ToDictionary(field => field.Name, Value);
        Assert.That(ours, Has.Count.GreaterThan(70));
        Assert.That(ours.Where(pair => s_native[pair.Key] != pair.Value).Select(pair => $"{pair.Key}: ours {pair.Value}, theirs {s_native[pair.Key]}"), Is.Empty);
    }

    [TestCase("O_CLOEXEC")]
    [TestCase("EPOLLIN")]
    [TestCase("SIGCHLD")]
    [TestCase("TIOCSWINSZ")]
    [TestCase("F_SETPIPE_SZ")]
    [TestCase("IN_CLOSE_WRITE")]
    [TestCase("SYS_pidfd_open")]
    [TestCase("SYS_pidfd_send_signal")]
    [TestCase("PR_SET_CHILD_SUBREAPER")]
    [TestCase("WNOWAIT")]
    [TestCase("MSG_CMSG_CLOEXEC")]
    [TestCase("ECHILD")]
    public void Constants_ThoseThatMatterMost_AreAmongTheCompared(string name) =>
        Assert.That(Constants().Select(field => field.Name), Does.Contain(name));

    [Test]
    public unsafe void EpollEvent_Layout_AsInTheHeaders() => Check<Libc.EpollEvent>(
        "struct epoll_event", sizeof(Libc.EpollEvent), ("Events", "events"), ("Data", "data"));

    [Test]
    public unsafe void SigInfo_Layout_AsInTheHeaders() => Check<Libc.SigInfo>(
        "siginfo_t", sizeof(Libc.SigInfo), ("Signal", "si_signo"), ("Code", "si_code"), ("Pid", "si_pid"), ("Status", "si_status"));

    [Test]
    public unsafe void ResourceUsage_Layout_AsInTheHeaders() => Check<Libc.ResourceUsage>(
        "struct rusage",
        sizeof(Libc.ResourceUsage),
        ("UserSeconds", "ru_utime.tv_sec"),
        ("UserMicroseconds", "ru_utime.tv_usec"),
        ("SystemSeconds", "ru_stime.tv_sec"),
        ("SystemMicroseconds", "ru_stime.tv_usec"),
        ("MaxRssKib", "ru_maxrss"));

    [Test]
    public unsafe void MessageHeader_Layout_AsInTheHeaders() => Check<Libc.MessageHeader>(
        "struct msghdr",
        sizeof(Libc.MessageHeader),
        ("Name", "msg_name"),
        ("NameLength", "msg_namelen"),
        ("Vectors", "msg_iov"),
        ("VectorCount", "msg_iovlen"),
        ("Control", "msg_control"),
        ("ControlLength", "msg_controllen"),
        ("Flags", "msg_flags"));

    [Test]
    public unsafe void IoVector_Layout_AsInTheHeaders() => Check<Libc.IoVector>("struct iovec", sizeof(Libc.IoVector), ("Base", "iov_base"), ("Length", "iov_len"));

    [Test]
    public unsafe void ControlHeader_Layout_AsInTheHeaders()
    {
        Check<Libc.ControlHeader>("struct cmsghdr", sizeof(Libc.ControlHeader), ("Length", "cmsg_len"), ("Level", "cmsg_level"), ("Type", "cmsg_type"));
        Assert.That(sizeof(Libc.ControlHeader), Is.EqualTo(s_native["CMSG_LEN(0)"]), "the data follows directly");
    }

    [Test]
    public unsafe void UnixAddress_Layout_AsInTheHeaders() =>
        Check<Libc.UnixAddress>("struct sockaddr_un", sizeof(Libc.UnixAddress), ("Family", "sun_family"), ("Path", "sun_path"));

    [Test]
    public unsafe void PeerCredentials_Layout_AsInTheHeaders() =>
        Check<Libc.PeerCredentials>("struct ucred", sizeof(Libc.PeerCredentials), ("Pid", "pid"), ("User", "uid"), ("Group", "gid"));

    [Test]
    public unsafe void SignalSetAndInformation_Sizes_AsInTheHeaders() => Assert.That(
        (sizeof(Libc.SignalSet), Libc.SignalInfoSize, s_native["offsetof(struct signalfd_siginfo, ssi_signo)"]),
        Is.EqualTo(((int)s_native["sizeof(sigset_t)"], (int)s_native["sizeof(struct signalfd_siginfo)"], 0L)));

    [Test]
    public unsafe void PollFd_Layout_AsInTheHeaders() => Check<Libc.PollFd>(
        "struct pollfd", sizeof(Libc.PollFd), ("Descriptor", "fd"), ("Events", "events"), ("Returned", "revents"));

    [Test]
    public unsafe void WindowSize_Layout_AsInTheHeaders() => Check<Libc.WindowSize>(
        "struct winsize", sizeof(Libc.WindowSize), ("Rows", "ws_row"), ("Columns", "ws_col"), ("XPixels", "ws_xpixel"), ("YPixels", "ws_ypixel"));

    [Test]
    public unsafe void Termios_Buffer_HasRoom() => Assert.That(sizeof(Libc.Termios), Is.AtLeast(s_native["sizeof(struct termios)"]));

    [Test]
    public void OpenHow_Layout_AsInTheHeaders()
    {
        var type = typeof(Libc).GetNestedType("OpenHow", BindingFlags.NonPublic)!;
        Assert.That(Marshal.SizeOf(type), Is.EqualTo(s_native["sizeof(struct open_how)"]));
        Assert.That((long)Marshal.OffsetOf(type, "Mode"), Is.EqualTo(s_native["offsetof(struct open_how, mode)"]));
        Assert.That((long)Marshal.OffsetOf(type, "Resolve"), Is.EqualTo(s_native["offsetof(struct open_how, resolve)"]));
    }

    [Test]
    public void Statx_BufferAndMode_AsInTheHeaders()
    {
        // Literals in KindOf.
        Assert.That(s_native["sizeof(struct statx)"], Is.EqualTo(256));
        Assert.That(s_native["offsetof(struct statx, stx_mode)"], Is.EqualTo(28));
        Assert.That(s_native["sizeof(((struct statx *)0)->stx_mode)"], Is.EqualTo(2));
    }

    [TestCase("FileActionsSize", "sizeof(posix_spawn_file_actions_t)")]
    [TestCase("AttributesSize", "sizeof(posix_spawnattr_t)")]
    [TestCase("SignalSetSize", "sizeof(sigset_t)")]
    public void SpawnBuffers_NativeTypes_Fit(string ours, string native) =>
        Assert.That((int)typeof(Spawner).GetField(ours, AnyStatic)!.GetRawConstantValue()!, Is.AtLeast(s_native[native]));

    [Test]
    public void KindOf_EveryKind_Told()
    {
        var directory = TestRun.NewDirectory("kinds");
        try
        {
            File.WriteAllText(Path.Combine(directory, "file"), "");
            File.CreateSymbolicLink(Path.Combine(directory, "link"), "file");
            Assert.That(Libc.MkFifo(Path.Combine(directory, "fifo"), 0x180), Is.Zero);
            Assert.That(Libc.KindOf(Path.Combine(directory, "file")), Is.EqualTo(FileKind.Regular));
            Assert.That(Libc.KindOf(Path.Combine(directory, "link")), Is.EqualTo(FileKind.Regular));
            Assert.That(Libc.KindOf(Path.Combine(directory, "link"), followLinks: false), Is.EqualTo(FileKind.Other));
            Assert.That(Libc.KindOf(Path.Combine(directory, "fifo")), Is.EqualTo(FileKind.Fifo));
            Assert.That(Libc.KindOf(directory), Is.EqualTo(FileKind.Directory));
            Assert.That(Libc.KindOf("/dev/null"), Is.EqualTo(FileKind.CharacterDevice));
            Assert.That(Libc.KindOf(Path.Combine(directory, "none")), Is.EqualTo(FileKind.Missing));
            Assert.That(Libc.KindOf(Path.Combine(directory, "file/below")), Is.EqualTo(FileKind.Missing));
            using var listener = new System.Net.Sockets.Socket(
                System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Unspecified);
            listener.Bind(new System.Net.Sockets.UnixDomainSocketEndPoint(Path.Combine(directory, "socket")));
            Assert.That(Libc.KindOf(Path.Combine(directory, "socket")), Is.EqualTo(FileKind.Socket));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Test]
    public void Open_AnyFlags_CloseOnExec()
    {
        using var opened = Fd.Open("/dev/null", Libc.O_RDONLY);
        using var duplicate = Fd.Duplicate(opened);
        using var memory = Fd.Memory("x");
        var (read, write) = Libc.Pipe();
        using (read)
        using (write)
        {
            foreach (var handle in new SafeHandle[] { opened, duplicate, memory, read, write })
            {
                Assert.That(Libc.Fcntl(Fd.Number(handle), Libc.F_GETFD, 0), Is.EqualTo(Libc.FD_CLOEXEC));
            }
        }
    }

    [Test]
    public void Open_Missing_SaysCallPathAndReason() => Assert.That(
        () => Fd.Open("/nonexistent/file", Libc.O_RDONLY),
        Throws.TypeOf<NativeException>().With.Message.EqualTo("open /nonexistent/file: No such file or directory").And.Property("Number").EqualTo(Errno.ENOENT));

    private static IEnumerable<FieldInfo> Constants() => new[] { typeof(Libc), typeof(Errno) }
        .SelectMany(type => type.GetFields(AnyStatic))
        .Where(field => field.IsLiteral && field.Name.All(c => char.IsAsciiLetterUpper(c) || char.IsAsciiDigit(c) || c == '_' || field.Name.StartsWith("SYS_", StringComparison.Ordinal)));

    private static long Value(FieldInfo field) => Convert.ToInt64(
        field.GetRawConstantValue() is nuint unsigned ? (ulong)unsigned : field.GetRawConstantValue(), CultureInfo.InvariantCulture);

    private static void Check<T>(string native, int size, params (string Ours, string Theirs)[] fields)
        where T : unmanaged
    {
        Assert.That(size, Is.EqualTo(s_native[$"sizeof({native})"]), $"sizeof({native})");
        foreach (var (ours, theirs) in fields)
        {
            Assert.That((long)Marshal.OffsetOf<T>(ours), Is.EqualTo(s_native[$"offsetof({native}, {theirs})"]), $"{native}.{theirs}");
            Assert.That(
                Marshal.SizeOf(typeof(T).GetField(ours, BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.Public)!.FieldType is { IsPointer: true } ? typeof(nint)
                    : typeof(T).GetField(ours, BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.Public)!.FieldType),
                Is.EqualTo(s_native[$"sizeof((({native} *)0)->{theirs})"]),
                $"size of {native}.{theirs}");
        }
    }

    private static Dictionary<string, string> Expressions()
    {
        var expressions = new List<string>(Constants().Select(field => field.Name));
        foreach (var (type, members) in new (string, string[])[]
        {
            ("struct epoll_event", ["events", "data"]),
            ("siginfo_t", ["si_signo", "si_code", "si_pid", "si_status"]),
            ("struct rusage", ["ru_utime.tv_sec", "ru_utime.tv_usec", "ru_stime.tv_sec", "ru_stime.tv_usec", "ru_maxrss"]),
            ("struct msghdr", ["msg_name", "msg_namelen", "msg_iov", "msg_iovlen", "msg_control", "msg_controllen", "msg_flags"]),
            ("struct iovec", ["iov_base", "iov_len"]),
            ("struct cmsghdr", ["cmsg_len", "cmsg_level", "cmsg_type"]),
            ("struct pollfd", ["fd", "events", "revents"]),
            ("struct winsize", ["ws_row", "ws_col", "ws_xpixel", "ws_ypixel"]),
            ("struct statx", ["stx_mode"]),
            ("struct open_how", ["flags", "mode", "resolve"]),
            ("struct sockaddr_un", ["sun_family", "sun_path"]),
            ("struct ucred", ["pid", "uid", "gid"]),
            ("struct signalfd_siginfo", ["ssi_signo"]),
        })
        {
            expressions.Add($"sizeof({type})");
            expressions.AddRange(members.Select(member => $"offsetof({type}, {member})"));
            expressions.AddRange(members.Select(member => $"sizeof((({type} *)0)->{member})"));
        }

        expressions.AddRange(["CMSG_LEN(0)", "sizeof(posix_spawn_file_actions_t)", "sizeof(posix_spawnattr_t)", "sizeof(sigset_t)", "sizeof(struct termios)"]);
        return expressions.ToDictionary(expression => expression);
    }

    private static Dictionary<string, long> Evaluate(Dictionary<string, string> expressions)
    {
        // Whichever NativeAOT links with here.
        var compiler = Machine.FindInPath("gcc") ?? Machine.FindInPath("clang");
        Machine.Require(compiler is not null, "neither gcc nor clang is installed");
        var directory = TestRun.NewDirectory("abi");
        try
        {
            var source = new StringBuilder("#define _GNU_SOURCE\n");
            foreach (var header in s_headers)
            {
                source.Append(CultureInfo.InvariantCulture, $"#include <{header}>\n");
            }

            source.Append("int main(void)\n{\n");
            foreach (var (name, expression) in expressions)
            {
                source.Append(CultureInfo.InvariantCulture, $"    printf(\"%s=%lld\\n\", \"{name}\", (long long)({expression}));\n");
            }

            source.Append("    return 0;\n}\n");
            File.WriteAllText(Path.Combine(directory, "abi.c"), source.ToString());
            var compiled = Output(compiler!, "-o", Path.Combine(directory, "abi"), Path.Combine(directory, "abi.c"));
            Assert.That(File.Exists(Path.Combine(directory, "abi")), Is.True, compiled);
            return Output(Path.Combine(directory, "abi")).Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(line => line.LastIndexOf('=') is var at ? (line[..at], line[(at + 1)..]) : default)
                .ToDictionary(pair => pair.Item1, pair => long.Parse(pair.Item2, CultureInfo.InvariantCulture));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static string Output(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEndAsync();
        if (!process.WaitForExit(60_000))
        {
            process.Kill();
            throw new AssertionException($"{program} did not end");
        }

        return output.Result + errors.Result;
    }
}
