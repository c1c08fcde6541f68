namespace Supervisor.Cli.Output;

/// <summary>For whom a verb prints.</summary>
internal enum OutputFormat
{
    /// <summary>Tables and sentences for a person.</summary>
    Table,

    /// <summary>The API's messages in protobuf's JSON form, for a program.</summary>
    Json,
}
