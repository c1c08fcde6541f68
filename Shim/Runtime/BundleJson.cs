using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace Shim.Runtime;

/// <summary>Compiled serialization, so that nothing is built by reflection at run time.</summary>
[JsonSerializable(typeof(JsonObject))]
internal sealed partial class BundleJson : JsonSerializerContext;
