using System.Text;
using Shim.Interop;
using Spectre.Console;

namespace Supervisor.Cli.Output;

/// <summary>Where the client verbs print: answers to <see cref="Out"/>, everything else to <see cref="Error"/>.</summary>
internal sealed class CliConsole : IAnsiConsoleOutput
{
    // Wide enough for any table: a program or a file that reads our output wants whole lines, not folded ones.
    private const int WidthWithoutTerminal = 1000;

    private readonly IAnsiConsole _ansi;

    internal CliConsole(TextWriter output, TextWriter error, bool isTerminal)
    {
        Out = output;
        Error = error;
        IsTerminal = isTerminal;
        _ansi = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = this,
            Ansi = isTerminal ? AnsiSupport.Detect : AnsiSupport.No,
            Interactive = isTerminal ? InteractionSupport.Detect : InteractionSupport.No,
            ColorSystem = isTerminal ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
        });
    }

    /// <summary>Our standard output and standard error.</summary>
    internal static CliConsole Standard() => new(Writer(1), Writer(2), RawTerminal.IsTerminal(1));

    /// <summary>For answers.</summary>
    internal TextWriter Out { get; }

    /// <summary>For errors, warnings and progress.</summary>
    internal TextWriter Error { get; }

    /// <summary>For tables and live displays, on <see cref="Out"/>.</summary>
    internal IAnsiConsole Ansi => _ansi;

    /// <summary>Whether a person looks at <see cref="Out"/>.</summary>
    public bool IsTerminal { get; }

    TextWriter IAnsiConsoleOutput.Writer => Out;

    public int Width => IsTerminal && RawTerminal.SizeOf(1) is { } size ? size.Columns : IsTerminal ? 80 : WidthWithoutTerminal;

    public int Height => IsTerminal && RawTerminal.SizeOf(1) is { } size ? size.Rows : 24;

    public void SetEncoding(Encoding encoding)
    {
        // Always UTF-8, as every terminal and every file here.
    }

    /// <summary>
    /// Prints a table. Only a terminal gets it padded and cut to its width; the lines of a pipe end where their text ends.
    /// </summary>
    internal void Print(Table table)
    {
        if (IsTerminal)
        {
            Ansi.Write(table);
            return;
        }

        using var text = new StringWriter { NewLine = "\n" };
        new CliConsole(text, Error, isTerminal: false).Ansi.Write(table);
        foreach (var line in text.ToString().TrimEnd('\n').Split('\n'))
        {
            Out.WriteLine(line.TrimEnd());
        }
    }

    private static StreamWriter Writer(int descriptor) =>
        new(new DescriptorStream(descriptor), new UTF8Encoding(encoderShouldEmitUTF8Identifier: false)) { AutoFlush = true, NewLine = "\n" };
}
