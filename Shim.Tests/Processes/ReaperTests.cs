using System.Text.Json.Nodes;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Processes;

/// <summary>The reaper, in processes of its own. Tests whose names end in "Lost", "Unknown" and the like are negative controls.</summary>
public sealed class ReaperTests
{
    [Test]
    public async Task Reap_TwoThousandChildrenWithOrphansAndKills_EveryStatusRightNoneLost()
    {
        var seen = await Probe.RunAsync("reap");
        Assert.That(Texts(seen["wrong"]), Is.Empty);
        Assert.That(Flag(seen, "done"), Is.True, "all children were reported in time");
        Assert.That(Number(seen, "orphans"), Is.EqualTo(500));
        Assert.That(Number(seen, "collected"), Is.EqualTo(2500));
        Assert.That(Number(seen, "left"), Is.Zero, "children and zombies that are left");
        Assert.That(Number(seen, "early"), Is.Zero, "exits that are kept though nobody anticipates any");
    }

    [Test]
    public async Task Claim_GrandchildrenThatEndedBefore_TrueStatuses()
    {
        var seen = await Probe.RunAsync("early");
        Assert.That(Texts(seen["wrong"]), Is.Empty);
        Assert.That(Number(seen, "statuses"), Is.EqualTo(200));
        Assert.That(Number(seen, "kept"), Is.Zero, "what was anticipated is forgotten afterwards");
    }

    [Test]
    public async Task Claim_EndedBeforeWithoutAnticipation_UnknownAndNeverZero()
    {
        var seen = await Probe.RunAsync("early-without-anticipation");
        Assert.That(Texts(seen["wrong"]), Has.Count.EqualTo(200).And.All.Contain("Known = False"));
        Assert.That((Number(seen, "statuses"), Number(seen, "min")), Is.EqualTo((1, 255)));
    }

    [Test]
    public async Task Claim_ProcessOfAnotherParent_EndIsSeenAndItsStatusNeverInvented()
    {
        var seen = await Probe.RunAsync("stranger");
        Assert.That((Flag(seen, "opened"), Flag(seen, "too_early"), Flag(seen, "came")), Is.EqualTo((true, false, true)));

        // Older kernels tell it as long as its parent has not collected it.
        Assert.That((Flag(seen, "known"), Number(seen, "code")), Machine.PidFdsTellStatus ? Is.EqualTo((true, 7)) : Is.EqualTo((true, 7)).Or.EqualTo((false, 255)));
    }

    [Test]
    public async Task Orphans_AsSubreaper_Collected() =>
        Assert.That(Number(await Probe.RunAsync("subreaper-on"), "orphans"), Is.EqualTo(20));

    [Test]
    public async Task Orphans_NotSubreaper_NotCollected() =>
        Assert.That(Number(await Probe.RunAsync("subreaper-off"), "orphans"), Is.Zero);

    [Test]
    public async Task Reap_SigChldIgnoredByParentAndRepaired_AllStatuses()
    {
        var seen = await Probe.RunUnderAsync(["env", "--ignore-signal=CHLD"], "sigchld-ignored", "default");
        Assert.That((Flag(seen, "ignored"), Number(seen, "right")), Is.EqualTo((false, 50)));
    }

    [Test]
    public async Task Reap_SigChldIgnoredByParentAndNotRepaired_StatusesLost()
    {
        var seen = await Probe.RunUnderAsync(["env", "--ignore-signal=CHLD"], "sigchld-ignored");
        Assert.That((Flag(seen, "ignored"), Number(seen, "right")), Is.EqualTo((true, 0)));
    }

    [Test]
    public async Task Deliver_ManyExits_InTheOrderOfReaping()
    {
        var seen = await Probe.RunAsync("order");
        Assert.That((Number(seen, "delivered"), Number(seen, "distinct")), Is.EqualTo((60, 60)));
        Assert.That((Flag(seen, "in_order"), Flag(seen, "burst_in_order")), Is.EqualTo((true, true)));
    }

    [Test]
    public async Task Deliver_HandlerBlocksAndThrows_CollectingGoesOn()
    {
        var seen = await Probe.RunAsync("slow-handler");
        Assert.That(Flag(seen, "collected_while_blocked"), Is.True);
        Assert.That((Number(seen, "delivered"), Number(seen, "failures"), Number(seen, "after")), Is.EqualTo((30, 1, 4)));
    }

    [Test]
    public async Task KillGroup_ChildWithChildren_AllEnd()
    {
        var seen = await Probe.RunAsync("kill-group");
        Assert.That((Number(seen, "signal"), Flag(seen, "gone")), Is.EqualTo((9, true)));
    }

    private static int Number(JsonObject seen, string name) => seen[name]!.GetValue<int>();

    private static bool Flag(JsonObject seen, string name) => seen[name]!.GetValue<bool>();

    private static List<string> Texts(JsonNode? array) => [.. array!.AsArray().Select(item => item!.GetValue<string>())];
}
