namespace Shim.Stdio;

/// <summary>Where the streams of one process come from and go to, as a client gave them (see <see cref="StreamAddress"/>).</summary>
/// <param name="Stdin">Empty: nothing to read.</param>
/// <param name="Stdout">Empty: discarded.</param>
/// <param name="Stderr">Empty: discarded. Not used with a terminal, which has one output only.</param>
/// <param name="Terminal">The process gets a terminal, and its bytes are relayed between that and the addresses.</param>
internal sealed record StreamAddresses(string Stdin, string Stdout, string Stderr, bool Terminal);
