namespace Shim.Transport.ShimV2;

/// <summary>The task API on one wire.</summary>
internal interface ITaskServer
{
    /// <summary>Takes no more calls; returns when those under way are answered, or after that time.</summary>
    public Task StopAsync(TimeSpan grace);
}
