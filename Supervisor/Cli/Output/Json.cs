using System.Text;
using Google.Protobuf;

namespace Supervisor.Cli.Output;

/// <summary>
/// The API's messages in protobuf's JSON form. Fields with their default value are printed too: a program that looks for
/// <c>exitStatus</c> should find 0 rather than nothing.
/// </summary>
internal static class Json
{
    private static readonly JsonFormatter s_line = new(JsonFormatter.Settings.Default.WithFormatDefaultValues(true));
    private static readonly JsonFormatter s_pretty = new(JsonFormatter.Settings.Default.WithFormatDefaultValues(true).WithIndentation());

    /// <summary>One message on one line, as streams print it.</summary>
    internal static string Line(IMessage message) => s_line.Format(message);

    /// <summary>One message on many lines.</summary>
    internal static string Pretty(IMessage message) => s_pretty.Format(message);

    /// <summary>An array of messages, one a line.</summary>
    internal static string Array(IEnumerable<IMessage> messages) => ArrayOf(messages.Select(Line));

    /// <summary>An array of values that are JSON already, one a line.</summary>
    internal static string ArrayOf(IEnumerable<string> values)
    {
        var text = new StringBuilder("[");
        var separator = "\n  ";
        foreach (var value in values)
        {
            text.Append(separator).Append(value);
            separator = ",\n  ";
        }

        return text.Append(text.Length == 1 ? "]" : "\n]").ToString();
    }

    /// <summary>
    /// A message with the name of the container that it is about in front, for answers that do not repeat what was asked.
    /// </summary>
    internal static string WithContainer(string containerId, IMessage message)
    {
        var body = Line(message);
        var rest = body.AsSpan(body.IndexOf('{', StringComparison.Ordinal) + 1).TrimStart();
        var id = System.Text.Json.JsonEncodedText.Encode(containerId);
        return rest is "}" ? $"{{ \"containerId\": \"{id}\" }}" : $"{{ \"containerId\": \"{id}\", {rest}";
    }
}
