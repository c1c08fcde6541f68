using System.Runtime.CompilerServices;
using Grpc.Core;
using NUnit.Framework;

namespace Shim.Tests.Support;

/// <summary>Expects calls to be refused.</summary>
public static class Refusal
{
    /// <summary>
    /// Expects a call to fail with <paramref name="code"/> and a message that is not empty and names every one of
    /// <paramref name="naming"/> (upper and lower case are the same). Returns the message.
    /// </summary>
    public static async Task<string> ExpectAsync<T>(
        AsyncUnaryCall<T> call,
        StatusCode code,
        string[]? naming = null,
        [CallerArgumentExpression(nameof(call))] string what = "")
    {
        ArgumentNullException.ThrowIfNull(call);
        using (call)
        {
            var outcome = await OutcomeAsync(call);
            Assert.That(outcome.StatusCode, Is.EqualTo(code), $"{what} answered {outcome}");
            Assert.That(outcome.Detail, Is.Not.Empty, $"{what}: a refusal without a message");
            foreach (var fragment in naming ?? [])
            {
                Assert.That(outcome.Detail, Does.Contain(fragment).IgnoreCase, what);
            }

            return outcome.Detail;
        }
    }

    /// <summary>How a call ended; OK included.</summary>
    public static async Task<Status> OutcomeAsync<T>(AsyncUnaryCall<T> call)
    {
        ArgumentNullException.ThrowIfNull(call);
        try
        {
            await call.ResponseAsync;
            return Status.DefaultSuccess;
        }
        catch (RpcException exception)
        {
            return exception.Status;
        }
    }
}
