#!/usr/bin/env bash
# Installs what building, running and testing need on Debian and its relatives. Does nothing, silently, if all is there.
#
#   scripts/install-dependencies.sh               everything
#   scripts/install-dependencies.sh postgres      only the named: cc make curl postgres redis-server npm python3-venv
set -euo pipefail

package_of() {
    case $1 in
        cc) echo gcc libc6-dev ;; # linker, and for crates with C in them
        make | curl | redis-server) echo "$1" ;;
        postgres) echo postgresql ;;
        npm) echo nodejs npm ;;
        python3-venv) echo python3 python3-venv ;;
        *) echo "$0: unknown dependency: $1" >&2 && return 2 ;;
    esac
}

is_there() {
    command -v "$1" >/dev/null && return
    case $1 in
        # Debian keeps it out of the PATH.
        postgres) compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ;;
        # A part of Python that Debian packages on its own.
        python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        *) return 1 ;;
    esac
}

[ $# -gt 0 ] || set -- cc make curl postgres redis-server
packages=()
for dependency; do
    names=$(package_of "$dependency")
    # shellcheck disable=SC2206 # several words are several packages
    is_there "$dependency" || packages+=($names)
done
[ ${#packages[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Missing; please install the equivalents of these Debian packages: ${packages[*]}" >&2
    exit 1
elif [ "$(id -u)" != 0 ]; then
    echo "Missing; please run as root: apt-get install ${packages[*]}" >&2
    exit 1
fi

# The packages would start servers of their own. Ours are private and short-lived.
policy=/usr/sbin/policy-rc.d
saved=$policy.saved-by-agentapi
restore_policy() {
    rm -f "$policy"
    if [ -e "$saved" ]; then mv "$saved" "$policy"; fi
}
trap restore_policy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ -e "$policy" ]; then mv "$policy" "$saved"; fi
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

echo "Installing ${packages[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
