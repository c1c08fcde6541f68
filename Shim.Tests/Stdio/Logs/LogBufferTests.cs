using NUnit.Framework;
using Shim.Stdio.Logs;

namespace Shim.Tests.Stdio.Logs;

public sealed class LogBufferTests
{
    [Test]
    public void AddAndConsume_AtRandom_SameBytesInTheSameOrder()
    {
        var random = new Random(1);
        var buffer = new LogBuffer();
        var model = new List<byte>();
        for (var i = 0; i < 20_000; i++)
        {
            var added = new byte[random.Next(random.Next(10) == 0 ? 5000 : 50)];
            random.NextBytes(added);
            buffer.Add(added);
            model.AddRange(added);
            var count = random.Next(3) == 0 ? buffer.Length : random.Next(buffer.Length + 1);
            Assert.That(buffer.Bytes.SequenceEqual(model.ToArray()), Is.True, $"after {i} steps");
            buffer.Consume(count);
            model.RemoveRange(0, count);
        }

        Assert.That(buffer.Capacity, Is.LessThan(128 * 1024), "what has been consumed takes no room");
    }

    [Test]
    public void New_HoldsNoMemory() => Assert.That(new LogBuffer().Capacity, Is.Zero);
}
