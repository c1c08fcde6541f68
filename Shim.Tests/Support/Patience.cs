using System.Globalization;

namespace Shim.Tests.Support;

/// <summary>How much longer than usual everything may take here: scripts/test-vm.sh says so for its emulated machine.</summary>
public static class Patience
{
    private static readonly double s_factor =
        double.TryParse(Environment.GetEnvironmentVariable("SHIM_TEST_PATIENCE"), CultureInfo.InvariantCulture, out var factor) ? Math.Max(factor, 1) : 1;

    /// <summary>A deadline, made longer where the machine is slow.</summary>
    public static TimeSpan Of(TimeSpan deadline) => deadline * s_factor;
}
