using System.CommandLine;
using System.Text.Json.Nodes;
using Containerd.V1;
using Grpc.Core;
using Supervisor.Cli.Logs;
using Supervisor.Cli.Parsing;
using ContainerStatus = Containerd.V1.Status;

namespace Supervisor.Cli.Bundles;

/// <summary>What run and create do alike: from what was typed to a created container whose init process waits for its start.</summary>
internal sealed class NewContainer : IDisposable
{
    private const int StartAttempts = 3;

    // 100 MB in all: nobody looks after these logs.
    private const string LogSize = "20m";
    private const string LogFiles = "5";

    private readonly SupervisorClient _client;
    private readonly string _givenBundle;
    private readonly PrivateBundle? _own;
    private readonly bool _ownConfig;
    private bool _mayExist;

    private NewContainer(SupervisorClient client, string id, ProcessChoice choice, string givenBundle, PrivateBundle? own, bool ownConfig)
    {
        _client = client;
        Id = id;
        Choice = choice;
        _givenBundle = givenBundle;
        _own = own;
        _ownConfig = ownConfig;
    }

    internal string Id { get; }

    internal ProcessChoice Choice { get; }

    /// <summary>
    /// Prepares the bundle: the given one as it is, or, where something must differ from it, a config.json of our own in a private
    /// directory. A detached container has such a directory in any case, for its log.
    /// </summary>
    internal static async Task<NewContainer> PrepareAsync(SupervisorClient client, ContainerOptions options, ParseResult parse, bool detached)
    {
        var id = parse.GetRequiredValue(options.Id);
        if (await ExistsAsync(client, id).ConfigureAwait(false))
        {
            // The supervisor would say so too, but only after files were made; and here is where it shows whether it runs at all.
            throw PrivateBundle.Exists(id);
        }

        var choice = options.Process.ChoiceOf(parse, parse.GetValue(options.Command) ?? []);
        var rootfs = parse.GetValue(options.Rootfs) is { } givenRoot ? ExistingDirectory(givenRoot) : null;
        var bundle = parse.GetValue(options.Bundle) is { } givenBundle ? ExistingDirectory(givenBundle) : "";
        var onShimLoss = parse.GetValue(options.OnShimLoss);
        var changes = choice.ChangesBundle || onShimLoss is not null;
        if (rootfs is null && !changes && !detached)
        {
            return new NewContainer(client, id, choice, bundle, own: null, ownConfig: false);
        }

        var own = await PrivateBundle.CreateAsync(client.SocketPath, id, () => ExistsAsync(client, id)).ConfigureAwait(false);
        try
        {
            JsonObject? config = null;
            if (rootfs is not null)
            {
                var user = choice.User is null ? ContainerUser.Root : UserLookup.Under(rootfs).Resolve(choice.User);
                config = DefaultConfig.Create(id, rootfs, choice, user, DefaultConfig.HasUnifiedCgroups());
            }
            else if (changes)
            {
                config = ConfigOverrides.Read(bundle);
                var user = choice.User is null ? null : UserLookup.Under(ConfigOverrides.RootOf(config, bundle)).Resolve(choice.User);
                ConfigOverrides.Apply(config, bundle, choice, user);
            }

            if (config is not null)
            {
                ConfigOverrides.Annotate(config, Containers.Bundle.LossAnnotation, onShimLoss);
                own.WriteConfig(config);
            }

            return new NewContainer(client, id, choice, bundle, own, ownConfig: config is not null);
        }
        catch
        {
            own.Remove();
            own.Dispose();
            throw;
        }
    }

    /// <summary>Creates the container with the given streams. When that fails nothing of it is left.</summary>
    internal async Task<CreateContainerResponse> CreateAsync(string stdin, string stdout, string stderr, CancellationToken cancellationToken)
    {
        var request = new CreateContainerRequest
        {
            Id = Id,
            BundlePath = _ownConfig ? _own!.Directory : _givenBundle,
            Console = Choice.Terminal,
            Stdin = stdin,
            Stdout = stdout,
            Stderr = stderr,
        };
        try
        {
            var response = await _client.Execution.CreateContainerAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
            _mayExist = true;

            // From here on the supervisor knows the id, and tells others that it is taken.
            _own?.Dispose();
            return response;
        }
        catch (RpcException e) when (IsUnclear(e))
        {
            // It may have been created all the same: what was made for it stays, until a delete or the next container of this id.
            _mayExist = true;
            throw;
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.AlreadyExists)
        {
            throw StartFailure(e);
        }
    }

    /// <summary>
    /// Creates the container without anybody who listens: its output goes to <paramref name="givenLog"/>, or <c>output.log</c> in the private
    /// directory, its input, if it wants any, comes from the FIFO <c>stdin</c> there.
    /// </summary>
    internal Task<CreateContainerResponse> CreateDetachedAsync(bool interactive, string? givenLog, CancellationToken cancellationToken)
    {
        var log = givenLog switch
        {
            null => OutputAddress.Make("log", _own!.LogFile, ("max-size", LogSize), ("max-files", LogFiles)),
            ContainerOptions.NoLog => "",
            _ => givenLog,
        };
        return CreateAsync(interactive ? _own!.MakeStdin() : "", log, Choice.Terminal ? "" : log, cancellationToken);
    }

    /// <summary>
    /// Lets the init process run. When the supervisor goes away before it has answered, the next one tells whether that has happened; if
    /// not, it is asked to.
    /// </summary>
    internal async Task StartAsync(CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await _client.Execution.StartContainerAsync(new StartContainerRequest { Id = Id }, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
                return;
            }
            catch (RpcException e) when (Failures.IsConnectionLost(e) && attempt < StartAttempts && !cancellationToken.IsCancellationRequested)
            {
                if (await HasStartedAsync(cancellationToken).ConfigureAwait(false))
                {
                    return;
                }
            }
            catch (RpcException e) when (!IsUnclear(e))
            {
                throw StartFailure(e);
            }
        }
    }

    /// <summary>
    /// Deletes the container and what was made for it; one that has gone already is as good as deleted. There is no token: an
    /// interrupted verb cleans up after itself too.
    /// </summary>
    internal async Task DeleteAsync()
    {
        try
        {
            await SupervisorClient.PersistAsync(
                async () =>
                {
                    await DeleteAsync(_client, Id, CancellationToken.None).ConfigureAwait(false);
                    return true;
                },
                CancellationToken.None).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            // Somebody else was faster.
        }
    }

    /// <summary>Deletes a container, whatever its state, and what was made for it beside the supervisor's socket.</summary>
    internal static async Task DeleteAsync(SupervisorClient client, string id, CancellationToken cancellationToken)
    {
        using var own = PrivateBundle.Find(client.SocketPath, id);
        try
        {
            await client.Execution.DeleteContainerAsync(new DeleteContainerRequest { Id = id }, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            own?.Remove();
            throw;
        }

        own?.Remove();
    }

    public void Dispose()
    {
        if (!_mayExist)
        {
            _own?.Remove();
        }

        _own?.Dispose();
    }

    /// <summary>Why a command could not be started, with the exit code that says so.</summary>
    internal static CliException StartFailure(RpcException failure) =>
        new(failure.Status.Detail.Length > 0 ? failure.Status.Detail : failure.StatusCode.ToString(), exitCode: ExitCodes.OfStart(failure));

    /// <summary>Whether the call may have had its effect: no answer came, or none in time.</summary>
    internal static bool IsUnclear(RpcException failure) =>
        Failures.IsConnectionLost(failure) || failure.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.Cancelled;

    private async Task<bool> HasStartedAsync(CancellationToken cancellationToken)
    {
        var request = new GetContainerRequest { Id = Id };
        var response = await SupervisorClient.PersistAsync(
            async () => await _client.Execution.GetContainerAsync(request, SupervisorClient.Read(cancellationToken)).ConfigureAwait(false),
            cancellationToken).ConfigureAwait(false);
        return response.Container.Status != ContainerStatus.Created;
    }

    private static async Task<bool> ExistsAsync(SupervisorClient client, string id)
    {
        try
        {
            await client.Execution.GetContainerAsync(new GetContainerRequest { Id = id }, SupervisorClient.Read()).ConfigureAwait(false);
            return true;
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            return false;
        }
    }

    private static string ExistingDirectory(string path)
    {
        var full = Path.GetFullPath(path);
        return Directory.Exists(full) ? full : throw new CliException($"{full} is not a directory");
    }
}
