extern alias SupervisorAssembly;

using NUnit.Framework;
using SupervisorAssembly::Supervisor.Containers;

namespace Shim.Tests.Supervisor;

/// <summary>What a new supervisor does with what an old one left: every combination, written out.</summary>
public sealed class RecoveryPlanTests
{
    private const string CleanUp = nameof(RecoveryDecision.CleanUp);
    private const string Reconnect = nameof(RecoveryDecision.Reconnect);
    private const string SettleLoss = nameof(RecoveryDecision.SettleLoss);

    private const string Delete = nameof(RecoveryDecision.Delete);

    // container.json readable, creation complete, deletion intended, shim lives, in the event log.
    [TestCase(false, false, false, false, false, CleanUp)]
    [TestCase(false, false, false, false, true, CleanUp)]
    [TestCase(false, false, false, true, false, CleanUp)]
    [TestCase(false, false, false, true, true, CleanUp)]
    [TestCase(false, false, true, false, false, CleanUp)]
    [TestCase(false, false, true, false, true, CleanUp)]
    [TestCase(false, false, true, true, false, CleanUp)]
    [TestCase(false, false, true, true, true, CleanUp)]
    [TestCase(false, true, false, false, false, CleanUp)]
    [TestCase(false, true, false, false, true, CleanUp)]
    [TestCase(false, true, false, true, false, CleanUp)]
    [TestCase(false, true, false, true, true, CleanUp)]
    [TestCase(false, true, true, false, false, CleanUp)]
    [TestCase(false, true, true, false, true, CleanUp)]
    [TestCase(false, true, true, true, false, CleanUp)]
    [TestCase(false, true, true, true, true, CleanUp)]
    [TestCase(true, false, false, false, false, CleanUp)]
    [TestCase(true, false, false, false, true, CleanUp)]
    [TestCase(true, false, false, true, false, CleanUp)]
    [TestCase(true, false, false, true, true, CleanUp)]
    [TestCase(true, false, true, false, false, CleanUp)]
    [TestCase(true, false, true, false, true, CleanUp)]
    [TestCase(true, false, true, true, false, CleanUp)]
    [TestCase(true, false, true, true, true, CleanUp)]
    [TestCase(true, true, false, false, false, CleanUp)]
    [TestCase(true, true, false, false, true, SettleLoss)]
    [TestCase(true, true, false, true, false, Reconnect)]
    [TestCase(true, true, false, true, true, Reconnect)]
    [TestCase(true, true, true, false, false, CleanUp)]
    [TestCase(true, true, true, false, true, Delete)]
    [TestCase(true, true, true, true, false, Delete)]
    [TestCase(true, true, true, true, true, Delete)]
    public void Decide_EveryCombination_IsAsWritten(bool hasRecord, bool complete, bool deleting, bool shimLives, bool tracked, string expected) =>
        Assert.That(RecoveryPlan.Decide(hasRecord, complete, deleting, shimLives, tracked).ToString(), Is.EqualTo(expected));
}
