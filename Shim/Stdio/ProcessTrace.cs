namespace Shim.Stdio;

/// <summary>What leads to a process and its streams when nobody remembers it.</summary>
/// <param name="StartTime">In clock ticks since boot: with the pid it names one process for ever. 0 if it had ended already.</param>
/// <param name="Streams">The addresses.</param>
/// <param name="StdoutPipe">The kernel's name of the pipe that is read here, such as <c>pipe:[4711]</c>; empty where there is none.</param>
/// <param name="StderrPipe">The same for stderr.</param>
internal sealed record ProcessTrace(ulong StartTime, StreamAddresses Streams, string StdoutPipe, string StderrPipe);
