#!/usr/bin/env bash
# Install the runtimes and libraries that the client examples need on Debian and Ubuntu, where they are missing.
#
#   tests/rest_clients/install_runtimes.sh [cpp] [csharp] [go] [java] [nodejs] [php]      (default: all of them)
#
# Python needs `pip install requests`, which the development environment has.
set -euo pipefail

declare -A packages=(
    [cpp]="g++ pkg-config libcpp-httplib-dev nlohmann-json3-dev libssl-dev zlib1g-dev libbrotli-dev"
    [csharp]="mono-mcs mono-runtime libmono-system-net-http4.0-cil libnewtonsoft-json5.0-cil"
    [go]="golang-go"
    [java]="default-jdk-headless libokhttp-java libjackson2-databind-java"
    [nodejs]="nodejs npm"
    [php]="php-cli php-curl"
)
# What must be there for a package to count as installed by other means.
declare -A commands=([g++]=g++ [pkg-config]=pkg-config [golang-go]=go [default-jdk-headless]=javac [nodejs]=node [npm]=npm)

is_missing() {
    local package=$1 command=${commands[$1]:-}
    [[ -n $command ]] && command -v "$command" >/dev/null && return 1
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]
}

missing=()
for language in "${@:-${!packages[@]}}"; do
    for package in ${packages[$language]:?"knows no $language, only ${!packages[*]}"}; do
        if is_missing "$package"; then missing+=("$package"); fi
    done
done

if ((${#missing[@]} == 0)); then
    echo "nothing is missing"
    exit
fi
as_root=()
if ((EUID != 0)); then as_root=(sudo); fi
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
