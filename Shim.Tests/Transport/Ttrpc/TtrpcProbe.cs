using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;
using Shim.Transport.Ttrpc;

namespace Shim.Tests.Transport.Ttrpc;

/// <summary>What needs a process with few descriptors.</summary>
internal static class TtrpcProbe
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);

    /// <summary>A peer connects while the server's process has no descriptor left; a second later there are some again.</summary>
    internal static JsonObject Descriptors(string directory) => DescriptorsAsync(directory).GetAwaiter().GetResult();

    private static void FailOnce()
    {
        try
        {
            using var nothing = File.OpenHandle("/nonexistent/file");
        }
        catch (IOException e)
        {
            _ = $"{e.Message}{new SocketException((int)SocketError.TooManyOpenSockets).Message}";
        }
    }

    private static async Task<JsonObject> DescriptorsAsync(string directory)
    {
        var log = new ConcurrentQueue<string>();
        var methods = new TtrpcMethods().Unary("s", "echo", StringValue.Parser, (request, _) => Task.FromResult<IMessage>(request));
        var server = new TtrpcServer(methods, new TtrpcServerOptions { Log = log.Enqueue });
        var path = Path.Combine(directory, "s");
        using var listener = new UnixSocket(UnixSockets.Listen(path, 128));
        var serving = server.ServeAsync(listener, CancellationToken.None);
        await using (var warm = TtrpcClient.Connect(path))
        {
            await EchoAsync(warm);
        }

        while (server.Connections > 0)
        {
            await Task.Delay(10);
        }

        // The runtime that tests run on compiles and loads when something happens for the first time, and aborts when it finds no descriptor for that.
        // The same goes for a thread that is started.
        FailOnce();
        _ = ThreadPool.SetMinThreads(8, 8);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() => Thread.Sleep(200))));
        await Task.Delay(1);
        _ = Environment.CpuUsage.TotalTime;

        // Everything is taken, and then one given back: that is the client's.
        var taken = new List<SafeFileHandle>();
        var exhausted = false;
        while (!exhausted && taken.Count < 1000)
        {
            try
            {
                taken.Add(File.OpenHandle("/dev/null"));
            }
            catch (IOException)
            {
                exhausted = true;
            }
        }

        taken[0].Dispose();
        await using var client = TtrpcClient.Connect(path);
        var call = EchoAsync(client);
        var clock = Stopwatch.StartNew();
        while (log.IsEmpty && clock.Elapsed < s_limit)
        {
            await Task.Delay(10);
        }

        var before = Environment.CpuUsage.TotalTime;
        await Task.Delay(1000);
        var cpu = Environment.CpuUsage.TotalTime - before;
        var early = call.IsCompleted;
        taken.ForEach(handle => handle.Dispose());
        var answer = await call;
        await server.StopAsync(s_limit);
        await serving;
        return new JsonObject
        {
            ["exhausted"] = exhausted && !early,
            ["complaints"] = log.Count,
            ["served"] = answer.Value == "x",
            ["cpu"] = cpu.TotalSeconds,
        };
    }

    private static Task<StringValue> EchoAsync(TtrpcClient client) =>
        client.CallAsync("s", "echo", new StringValue { Value = "x" }, StringValue.Parser, s_limit);
}
