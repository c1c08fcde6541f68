using System.Security.Cryptography;
using NUnit.Framework;
using Shim.Bootstrap.ShimV2;

namespace Shim.Tests.ShimV2.Direct;

public sealed class Sha256Tests
{
    [Test]
    public void Hash_AnyLength_AsTheFrameworkHasIt()
    {
        var message = new byte[300];
        new Random(1).NextBytes(message);
        for (var length = 0; length <= message.Length; length++)
        {
            Assert.That(Sha256.Hash(message.AsSpan(0, length)), Is.EqualTo(SHA256.HashData(message.AsSpan(0, length))), $"{length} bytes");
        }
    }
}
