#!/usr/bin/env bash
# Runs a command with a Docker engine of its own, in whose image store stand-ins for the public images are, made of Debian's
# packages. For machines that have no engine or reach no image registry.
#
#   private-engine.sh COMMAND [ARGUMENT...]
#
# The engine lives in its own network, mount and process namespaces. So it changes no firewall rule, bridge or mount of this
# machine, needs no free port, and the kernel ends all of it with its first process. Files are in one folder, removed at the end.
#
# Exits with COMMAND's status, or with 69 (unavailable) after one line that says why it cannot run here.
set -euo pipefail

readonly PACKAGES=(docker.io docker-compose debootstrap iptables slirp4netns)
readonly UNAVAILABLE=69
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here

unavailable() {
    echo "private engine: $*" >&2
    exit "$UNAVAILABLE"
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

install_packages() {
    local package missing=()
    for package in "${PACKAGES[@]}"; do
        [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "private engine: installing ${missing[*]}"
    # RUNLEVEL: no engine of the machine's own is started by it.
    { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq --yes --no-install-recommends "${missing[@]}"; } >"$work/apt.log" 2>&1 ||
        { tail -n 5 "$work/apt.log" >&2 && unavailable "Debian's packages ${missing[*]} cannot be installed"; }
}

# Ends what was started and removes what was made.
# shellcheck disable=SC2317 # called by the trap
clean_up() {
    local status=$?
    trap - EXIT INT TERM
    [ -z "${engine:-}" ] || { kill -KILL "$engine" && wait "$engine"; } 2>/dev/null || true
    [ -z "${network:-}" ] || { kill "$network" && wait "$network"; } 2>/dev/null || true
    find /sys/fs/cgroup -depth -type d -path "*/$(basename "$work")*" -exec rmdir {} + 2>/dev/null || true
    rm -rf --one-file-system "$work"
    exit "$status"
}

# Outside the namespaces: makes them, and gives them a way to the package registries through this process's network.
outside() {
    [ "$(uname -s)" = Linux ] || unavailable "needs Linux"
    [ "$(id -u)" -eq 0 ] || unavailable "needs root"
    command -v apt-get >/dev/null || unavailable "needs Debian's package manager"
    command -v cargo >/dev/null || unavailable "needs cargo, for the stand-in of the rust image"
    [ -c /dev/net/tun ] || unavailable "needs /dev/net/tun"
    unshare --net --mount --pid --fork true 2>/dev/null || unavailable "needs the right to make namespaces"

    work=$(mktemp --directory "${TMPDIR:-/var/tmp}/agentapi-engine.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    install_packages
    (cd "$here/../.." && cargo fetch --locked --quiet) || unavailable "the crates of Cargo.lock cannot be fetched"
    debootstrap --variant=minbase bookworm "$work/debian" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 5 "$work/debootstrap.log" >&2 && unavailable "debootstrap cannot make a Debian system"; }

    mkfifo "$work/connected"
    unshare --net --mount --pid --fork --kill-child --mount-proc -- \
        "${BASH_SOURCE[0]}" --inside "$work" "$@" &
    engine=$!
    wait_for 10 pgrep --parent "$engine"
    slirp4netns --configure --mtu=1400 --disable-host-loopback --ready-fd=3 "$(pgrep --parent "$engine")" tap0 \
        3>"$work/connected" >"$work/network.log" 2>&1 &
    network=$!
    local status=0
    wait "$engine" || status=$?
    engine=
    exit "$status"
}

# Inside the namespaces: starts the engine, makes the stand-ins, runs the command.
inside() {
    work=$1
    shift
    ip link set lo up
    read -r -n 1 <"$work/connected"
    echo 'nameserver 10.0.2.3' >"$work/resolv.conf"
    mount --bind "$work/resolv.conf" /etc/resolv.conf

    export DOCKER_HOST=unix://$work/docker.sock
    # Before any other client of another version.
    export PATH=/usr/bin:/usr/sbin:$PATH
    dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/docker.pid" \
        --cgroup-parent "/$(basename "$work")" >"$work/dockerd.log" 2>&1 &
    wait_for 60 docker info || { tail -n 5 "$work/dockerd.log" >&2 && unavailable "the engine does not start"; }
    "$here/stand-ins.sh" "$work/debian"

    local status=0
    "$@" || status=$?
    # In order, so that the engine ends the containers and removes their control groups.
    docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
    kill "$(cat "$work/docker.pid")"
    wait
    exit "$status"
}

if [ "${1:-}" = --inside ]; then
    inside "${@:2}"
else
    outside "$@"
fi
