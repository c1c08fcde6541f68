using Containerd;
using Containerd.Shim.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Transport;

/// <summary>The largest requests, as many as anybody likes: they wait for each other, and the shim's memory is enough for them.</summary>
public sealed class LargeRequestTests
{
    private const int Requests = 60;
    private const int Channels = 6;

    // A container's process cannot have arguments that long; it is refused, after everything was read.
    private const int Size = 4_000_000;

    [Test]
    public async Task ManyAtOnce_AllAreReadAndTheShimLives()
    {
        await using var shim = await ShimFixture.StartAsync();
        var channels = Enumerable.Range(0, Channels).Select(_ => UnixChannel.Open(shim.Socket)).ToList();
        try
        {
            var request = new ExecRequest { Args = { new string('x', Size) } };
            var most = 0L;
            var calls = Enumerable.Range(0, Requests).Select(async i =>
            {
                using var call = new Containerd.Shim.V1.Shim.ShimClient(channels[i % Channels]).ExecAsync(request, deadline: DateTime.UtcNow.AddSeconds(60));
                return (await Refusal.OutcomeAsync(call)).StatusCode;
            }).ToList();
            var all = Task.WhenAll(calls);
            while (!all.IsCompleted)
            {
                most = Math.Max(most, ProcessCost.Memory(shim.ProcessId));

                // Others are served meanwhile.
                Assert.That((await shim.Client.InfoAsync(new InfoRequest())).Pid, Is.EqualTo((uint)shim.ProcessId));
                await Task.Delay(5);
            }

            Assert.That((await all).Distinct(), Is.EqualTo(new[] { StatusCode.NotFound }), "there is no container");
            TestContext.Out.WriteLine($"{Requests} requests of {Size} bytes: {most / 1024 / 1024} MiB at most");

            // The heap's limit, and what lies outside of the heap; 60 requests at once would be 240 MB.
            Assert.That(most, Is.LessThan(96 * 1024 * 1024));
        }
        finally
        {
            channels.ForEach(channel => channel.Dispose());
        }
    }

    [Test]
    public async Task OneThatStopsHalfWay_LeavesItsPlaceWhenItGoes()
    {
        await using var shim = await ShimFixture.StartAsync();
        for (var i = 0; i < 10; i++)
        {
            using var channel = UnixChannel.Open(shim.Socket);
            using var cancel = new CancellationTokenSource();
            var call = new Containerd.Shim.V1.Shim.ShimClient(channel).ExecAsync(new ExecRequest { Args = { new string('x', Size) } }, cancellationToken: cancel.Token);
            await Task.Delay(i);
            await cancel.CancelAsync();
            _ = await Refusal.OutcomeAsync(call);
            call.Dispose();
        }

        var outcome = await Refusal.OutcomeAsync(shim.Client.ExecAsync(new ExecRequest { Args = { new string('x', Size) } }));
        Assert.That(outcome.StatusCode, Is.EqualTo(StatusCode.NotFound), outcome.Detail);
    }
}
