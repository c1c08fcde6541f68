# Sourced by the other scripts: Debian packages that are installed when they are missing.

# say MESSAGE: progress goes to stderr, so that stdout stays what a script promises.
say() { printf '%s: %s\n' "$(basename "$0")" "$1" >&2; }

# fail MESSAGE: a reason and the end.
fail() {
    say "$1"
    exit 1
}

# need_packages NAME...: installs what dpkg does not know as installed; silent when nothing is missing.
need_packages() {
    local missing=() name
    for name in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "missing, and there is no apt-get to install them: ${missing[*]}"
    [ "$(id -u)" = 0 ] || fail "missing, and only root can install them: apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    local log
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    # The package lists may be absent or stale: try with what is there, refresh once, try again.
    if ! apt-get install -qq -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; then
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null \
            || { cat "$log" >&2; rm -f "$log"; fail "could not install ${missing[*]}"; }
    fi
    rm -f "$log"
}

# need_dotnet: the SDK that global.json asks for.
need_dotnet() {
    command -v dotnet >/dev/null || fail "the .NET 10 SDK is missing: https://dotnet.microsoft.com/download/dotnet/10.0"
    dotnet --version >/dev/null || fail "the installed .NET SDK does not fit global.json: $(dotnet --list-sdks | tr '\n' ' ')"
}

# Builds leave nothing running behind, phone nowhere, and greet nobody.
export DOTNET_CLI_USE_MSBUILD_SERVER=0 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDDISABLENODEREUSE=1
