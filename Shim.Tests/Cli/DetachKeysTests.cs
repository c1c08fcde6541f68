extern alias SupervisorAssembly;

using System.Text;
using NUnit.Framework;
using SupervisorAssembly::Supervisor.Cli.Foreground;

namespace Shim.Tests.Cli;

public sealed class DetachKeysTests
{
    [TestCase("ctrl-p,ctrl-q", "\x10\x11")]
    [TestCase("ctrl-a", "\x01")]
    [TestCase("ctrl-Z", "\x1a")]
    [TestCase("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", "\0\x1b\x1c\x1d\x1e\x1f")]
    [TestCase("a,B,1,-", "aB1-")]
    [TestCase("q", "q")]
    public void Parse_Keys_AreWhatATerminalSends(string text, string sequence)
    {
        Assert.That(DetachKeys.TryParse(text, out var keys), Is.True);

        var matcher = keys.NewMatcher()!;
        Assert.That(matcher.Feed(Encoding.Latin1.GetBytes(sequence)), Is.True);
        Assert.That(matcher.Passed.Length, Is.Zero);
    }

    [Test]
    public void Parse_Nothing_IsNoKeys()
    {
        Assert.That(DetachKeys.TryParse("", out var keys), Is.True);
        Assert.That(keys.NewMatcher(), Is.Null);
    }

    [TestCase(",")]
    [TestCase("a,")]
    [TestCase("ctrl-")]
    [TestCase("ctrl-1")]
    [TestCase("ctrl-pp")]
    [TestCase("ctrl p")]
    [TestCase("alt-p")]
    [TestCase("ab")]
    [TestCase("ä")]
    [TestCase("ctrl-ä")]
    public void Parse_OtherText_IsRefused(string text) => Assert.That(DetachKeys.TryParse(text, out _), Is.False);

    /// <summary>Every text over a small alphabet, cut in two at every place, against the plainest search there is.</summary>
    [TestCase("pq")]
    [TestCase("ppq")]
    [TestCase("pqpqr")]
    [TestCase("pp")]
    [TestCase("p")]
    public void Feed_AnyText_InAnyPieces_PassesAllThatIsNoSequence(string sequence)
    {
        var keys = string.Join(',', sequence.ToCharArray());
        Assert.That(DetachKeys.TryParse(keys, out var detach), Is.True);
        const string Alphabet = "pqrx";
        for (var length = 1; length <= 6; length++)
        {
            for (var number = 0; number < Math.Pow(Alphabet.Length, length); number++)
            {
                var text = string.Concat(Enumerable.Range(0, length).Select(i => Alphabet[number / (int)Math.Pow(Alphabet.Length, i) % Alphabet.Length]));
                var expected = text.IndexOf(sequence, StringComparison.Ordinal) is >= 0 and var at ? text[..at] : text;
                for (var cut = 0; cut < length; cut++)
                {
                    var matcher = detach.NewMatcher()!;
                    var passed = "";
                    var found = false;
                    foreach (var piece in (string[])[text[..cut], text[cut..]])
                    {
                        if (!found)
                        {
                            found = matcher.Feed(Encoding.ASCII.GetBytes(piece));
                            passed += Encoding.ASCII.GetString(matcher.Passed);
                        }
                    }

                    passed += found ? "" : Encoding.ASCII.GetString(matcher.Held);
                    if ((found, passed) != (text.Contains(sequence, StringComparison.Ordinal), expected))
                    {
                        Assert.Fail($"{sequence} in {text[..cut]}|{text[cut..]}: found {found}, passed {passed}");
                    }
                }
            }
        }
    }

    [Test]
    public void Feed_BeginningThatIsNone_IsPassedWithTheNextKey()
    {
        Assert.That(DetachKeys.TryParse("ctrl-p,ctrl-q", out var keys), Is.True);
        var matcher = keys.NewMatcher()!;

        Assert.That(matcher.Feed("ab\x10"u8), Is.False);
        Assert.That(Encoding.ASCII.GetString(matcher.Passed), Is.EqualTo("ab"));
        Assert.That(matcher.Feed("c"u8), Is.False);
        Assert.That(Encoding.ASCII.GetString(matcher.Passed), Is.EqualTo("\u0010c"));
    }
}
