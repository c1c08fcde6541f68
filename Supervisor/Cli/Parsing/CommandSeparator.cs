using System.CommandLine;

namespace Supervisor.Cli.Parsing;

/// <summary>
/// Lets `run x sh -c 'echo hi'` mean what everybody expects: options end at the container's name, the rest is the command. The parser
/// knows no such rule, but it knows "--", so one is put where the rule says that options end.
/// </summary>
internal static class CommandSeparator
{
    /// <summary>The words of the command line, with "--" before the container's command where a verb takes one.</summary>
    internal static string[] Insert(Command root, string[] words)
    {
        var options = new List<Option>(root.Options);
        var command = root;
        var positional = 0;
        for (var i = 0; i < words.Length; i++)
        {
            var word = words[i];
            if (word == "--")
            {
                return words;
            }

            if (word.Length > 1 && word[0] == '-')
            {
                i += TakesNextWord(options, word) ? 1 : 0;
            }
            else if (command.Subcommands.FirstOrDefault(sub => sub.Name == word || sub.Aliases.Contains(word)) is { } sub && positional == 0)
            {
                command = sub;
                options.AddRange(sub.Options);
            }
            else if (command is Verb { TakesCommand: true } verb && ++positional >= verb.CommandPosition)
            {
                // A verb whose command is its first argument (position 0) gets the "--" before this word, others after it.
                var end = verb.CommandPosition == 0 ? i : i + 1;
                return end < words.Length && words[end] != "--" ? [.. words[..end], "--", .. words[end..]] : words;
            }
            else
            {
                positional++;
            }
        }

        return words;
    }

    private static bool TakesNextWord(List<Option> options, string word)
    {
        if (word.Contains('=', StringComparison.Ordinal))
        {
            return false;
        }

        if (Find(options, word) is { } option)
        {
            return TakesValue(option);
        }

        if (word.StartsWith("--", StringComparison.Ordinal))
        {
            return false;
        }

        // Bundled short options, -it: the first that takes a value has the rest of the word, or, as the last letter, the next word.
        for (var i = 1; i < word.Length; i++)
        {
            if (Find(options, $"-{word[i]}") is { } bundled && TakesValue(bundled))
            {
                return i == word.Length - 1;
            }
        }

        return false;
    }

    private static Option? Find(List<Option> options, string word) =>
        options.Find(option => option.Name == word || option.Aliases.Contains(word));

    private static bool TakesValue(Option option) => option.Arity.MinimumNumberOfValues > 0;
}
