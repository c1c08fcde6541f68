using System.Text;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.EndToEnd;

/// <summary>Programs that open their own output anew, by the names that Linux gives it, whoever they run as.</summary>
public sealed class ReopenedStreamTests
{
    [Test]
    public async Task StdoutAndStderr_OpenedByName_Writable(
        [Values("fifo", "file", "log")] string kind, [Values("root", "user", "mapped root", "mapped user")] string who)
    {
        await using var shim = await ShimFixture.StartAsync();
        string[] paths = [shim.PathOf("out"), shim.PathOf("err")];
        var readers = kind == "fifo" ? Array.ConvertAll(paths, path => new FifoReader(path)) : [];
        await shim.RunContainerAsync(
            bundle =>
            {
                if (who.EndsWith("user", StringComparison.Ordinal))
                {
                    bundle.User(1000, 1000);
                }

                if (who.StartsWith("mapped", StringComparison.Ordinal))
                {
                    bundle.UserNamespace();
                }

                // Appending, since a regular file would be cut short by ">" as anywhere else.
                return bundle.Script(
                    "echo a >>/dev/stdout || exit 1; echo b >>/dev/stderr || exit 2; echo c >>/proc/1/fd/1 || exit 3; echo d >>/proc/1/fd/2 || exit 4; exit 5");
            },
            request => (request.Stdout, request.Stderr) = kind == "fifo" ? (paths[0], paths[1]) : ($"{kind}://{paths[0]}", $"{kind}://{paths[1]}"));
        Assert.That((await shim.EndOfAsync(0)).Status, Is.EqualTo(5u));
        await shim.DeleteAsync(0);
        for (var i = 0; i < 2; i++)
        {
            var text = kind switch
            {
                "fifo" => await readers[i].ReadTextAsync(Poll.Deadline),
                "file" => await File.ReadAllTextAsync(paths[i]),
                _ => Encoding.UTF8.GetString(LogRecord.Join(CriLog.ReadAll(paths[i]), i == 0 ? "stdout" : "stderr")),
            };
            Assert.That(text, Is.EqualTo(i == 0 ? "a\nc\n" : "b\nd\n"));
        }

        Array.ForEach(readers, reader => reader.Dispose());
    }
}
