using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests;

/// <summary>Ends the run: removes what all tests shared.</summary>
[SetUpFixture]
public sealed class TestRunCleanup
{
    [OneTimeTearDown]
    public void RemoveSharedFiles()
    {
        BusyboxRootfs.Remove();
        TestRun.RemoveOwnRoot();
    }
}
