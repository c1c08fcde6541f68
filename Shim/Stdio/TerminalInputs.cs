using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Stdio;

/// <summary>
/// Those who may type on a terminal, and what they have typed that it has not taken yet: never more than one chunk, and meanwhile nobody is read. Only
/// for the thread of its loop.
/// </summary>
/// <param name="loop">Tells of input.</param>
/// <param name="awaitRoom">Asked to call <see cref="Pump()"/> when the terminal has room (true), or not any more (false).</param>
internal sealed class TerminalInputs(EventLoop loop, Action<bool> awaitRoom)
{
    // Turns before others on the loop get theirs.
    private const int MaxRounds = 8;
    private const int Chunk = 4096;
    private const byte EndOfTransmission = 0x04;

    private readonly List<Input> _inputs = [];
    private SafeFileHandle? _master;
    private byte[] _unsent = [];
    private bool _turnPosted;
    private bool _endAsked;
    private bool _endTyped;
    private bool _midLine;
    private bool _closed;

    /// <summary>Whether something waits for room in the terminal.</summary>
    internal bool AwaitsRoom { get; private set; }

    /// <summary>Adds somebody.</summary>
    /// <param name="source">What he types. Owned from now on.</param>
    /// <param name="isMain">Whether his end is the terminal's end of input, too.</param>
    /// <param name="client">The address of the output that belongs to it.</param>
    internal void Add(InputSource source, bool isMain, string client)
    {
        var input = new Input(source, isMain, client);
        _inputs.Add(input);
        if (_master is not null)
        {
            Listen(input);
            Pump();
        }
    }

    /// <summary>The terminal is there.</summary>
    internal void Begin(SafeFileHandle master)
    {
        _master = master;
        _inputs.ForEach(Listen);

        // Edge-triggered: nothing tells us of what is there already, except a first try.
        Pump();
    }

    /// <summary>No more than what they have written or will write before they close.</summary>
    internal void End()
    {
        _inputs.ForEach(input => input.Source.End());
        _endAsked = true;
        Pump();
    }

    /// <summary>Lets go of the one who belongs to an output.</summary>
    internal void Remove(string client) => _inputs.FindAll(input => input.Client == client).ForEach(Close);

    /// <summary>Lets go of everybody: nothing is typed any more.</summary>
    internal void Close()
    {
        _closed = true;
        _inputs.ToList().ForEach(Close);
    }

    /// <summary>Types what there is.</summary>
    internal void Pump()
    {
        if (_closed || _master is null || (_unsent.Length > 0 && !Type(_unsent)))
        {
            return;
        }

        if (_inputs.Count == 0)
        {
            // No address at all: the end comes when it is asked for.
            if (_endAsked && !_endTyped)
            {
                TypeEnd();
            }

            return;
        }

        for (var round = 0; round < MaxRounds; round++)
        {
            var more = false;
            for (var i = _inputs.Count - 1; i >= 0; i--)
            {
                more |= Pump(_inputs[i]);
                if (_unsent.Length > 0)
                {
                    return;
                }
            }

            if (!more)
            {
                return;
            }
        }

        if (!_turnPosted)
        {
            _turnPosted = true;
            loop.Post(() =>
            {
                _turnPosted = false;
                Pump();
            });
        }
    }

    private void Listen(Input input)
    {
        if (input.Source.CanWait)
        {
            input.Ready = loop.Register(input.Source.Reader, Libc.EPOLLIN, _ => Pump());
        }
    }

    /// <summary>Types what one of them has, once. True when there may be more.</summary>
    private bool Pump(Input input)
    {
        var buffer = loop.Scratch.AsSpan(0, Chunk);
        var count = Fd.Read(input.Source.Reader, buffer);
        if (count > 0)
        {
            Type(buffer[..count]);
            return true;
        }

        if (count == -1)
        {
            if (Errno.Last != Errno.EAGAIN)
            {
                loop.Log($"input of a terminal is lost: {Errno.Exception("read").Message}");
                Close(input);
            }

            return false;
        }

        // A FIFO ends when it was asked to, a file by itself.
        Close(input);
        if (input.IsMain)
        {
            TypeEnd();
        }

        return false;
    }

    private void TypeEnd()
    {
        _endTyped = true;

        // In the middle of a line the first one only hands over what has been typed so far; a read of nothing takes a second one.
        _ = Type(_midLine ? [EndOfTransmission, EndOfTransmission] : [EndOfTransmission]);
    }

    /// <summary>Writes to the terminal and keeps what did not fit. True when all is written.</summary>
    private bool Type(ReadOnlySpan<byte> bytes)
    {
        var last = bytes[^1];
        while (!bytes.IsEmpty)
        {
            var count = Fd.Write(_master!, bytes);
            if (count > 0)
            {
                bytes = bytes[count..];
                continue;
            }

            // EAGAIN: the process does not read. EIO: nobody has the slave open just now.
            _unsent = bytes.ToArray();
            Await(true);
            return false;
        }

        _midLine = last != (byte)'\n';
        _unsent = [];
        Await(false);
        return true;
    }

    /// <summary>Only once: asking reports room that is too small for us as well, and asking at every attempt would be a busy loop.</summary>
    private void Await(bool room)
    {
        if (AwaitsRoom != room)
        {
            AwaitsRoom = room;
            awaitRoom(room);
        }
    }

    private void Close(Input input)
    {
        _inputs.Remove(input);
        input.Ready?.Dispose();
        input.Source.Dispose();
    }

    private sealed class Input(InputSource source, bool isMain, string client)
    {
        internal InputSource Source { get; } = source;

        internal bool IsMain { get; } = isMain;

        internal string Client { get; } = client;

        internal EventLoop.Registration? Ready { get; set; }
    }
}
