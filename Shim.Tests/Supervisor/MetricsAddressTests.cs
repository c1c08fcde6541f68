extern alias SupervisorAssembly;

using NUnit.Framework;
using SupervisorAssembly::Supervisor.Daemon;

namespace Shim.Tests.Supervisor;

/// <summary>Metrics never reach the network.</summary>
public sealed class MetricsAddressTests
{
    [TestCase("127.0.0.1:9100", "127.0.0.1:9100")]
    [TestCase("127.1.2.3:1", "127.1.2.3:1")]
    [TestCase("[::1]:9100", "[::1]:9100")]
    [TestCase("unix:/run/metrics.sock", "/run/metrics.sock")]
    public void Parse_Local_IsTaken(string address, string expected) => Assert.That(MetricsAddress.Parse(address).ToString(), Is.EqualTo(expected));

    [TestCase("")]
    [TestCase("unix:")]
    [TestCase("0.0.0.0:9100")]
    [TestCase("[::]:9100")]
    [TestCase("10.0.0.1:9100")]
    [TestCase("localhost:9100")]
    [TestCase("127.0.0.1")]
    [TestCase("127.0.0.1:0")]
    [TestCase(":9100")]
    [TestCase("9100")]
    public void Parse_AnythingElse_IsRefused(string address) => Assert.That(() => MetricsAddress.Parse(address), Throws.InstanceOf<StartRefusedException>());
}
