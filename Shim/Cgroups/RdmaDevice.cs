using System.Globalization;

namespace Shim.Cgroups;

/// <summary>Use or limit of one RDMA device; <see cref="uint.MaxValue"/> is no limit.</summary>
internal sealed record RdmaDevice(string Name, uint Handles, uint Objects)
{
    /// <summary>From lines "mlx4_0 hca_handle=2 hca_object=max"; other lines are passed over.</summary>
    internal static IEnumerable<RdmaDevice> Parse(string? text)
    {
        foreach (var line in (text ?? "").Split('\n'))
        {
            var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length == 3)
            {
                yield return new RdmaDevice(fields[0], Value(fields, "hca_handle="), Value(fields, "hca_object="));
            }
        }
    }

    private static uint Value(string[] fields, string key)
    {
        var text = fields.FirstOrDefault(field => field.StartsWith(key, StringComparison.Ordinal)).AsSpan();
        return text.IsEmpty ? 0
            : text[key.Length..] is "max" ? uint.MaxValue
            : uint.TryParse(text[key.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : 0;
    }
}
