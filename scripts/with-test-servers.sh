#!/usr/bin/env bash
# Runs a command with a PostgreSQL of its own, and ends with the command's exit code:
#
#   scripts/with-test-servers.sh cargo test
#
# AGENTAPI_TEST_DATABASE_URL is the superuser's URL; tests make their own databases with it. The server is reached only through
# a socket in a private directory, keeps nothing safe from a power cut, and is gone afterwards however the command ended. If the
# variable is set already, that server is used. Redis servers are started by the tests that need them.
set -euo pipefail

[ $# -gt 0 ] || { echo "usage: $0 COMMAND [ARGUMENT]..." >&2 && exit 2; }
[ -z "${AGENTAPI_TEST_DATABASE_URL:-}" ] || exec "$@"

find_binaries() {
    local found
    if found=$(command -v initdb) && command -v pg_ctl >/dev/null; then
        dirname "$found"
    else
        compgen -G '/usr/lib/postgresql/*/bin' || compgen -G '/usr/pgsql-*/bin' || compgen -G '/opt/homebrew/opt/postgresql*/bin'
    fi | sort -V | tail -n 1
}
binaries=$(find_binaries)
[ -n "$binaries" ] || { echo "$0: no PostgreSQL is installed; see scripts/install-dependencies.sh" >&2 && exit 1; }

# PostgreSQL does not run as root.
as_user() { (cd / && exec "$@"); }
user=
if [ "$(id -u)" = 0 ]; then
    user=$(id -un postgres 2>/dev/null || echo nobody)
    as_user() { (cd / && exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups "$@"); }
fi

# Not in TMPDIR: the path of a socket must be short, and the user must be able to enter it.
directory=$(mktemp -d /tmp/agentapi-test-XXXXXX)
# shellcheck disable=SC2317 # the trap calls it
stop() {
    # What it did not write yet is not worth waiting for.
    as_user "$binaries/pg_ctl" stop -D "$directory/data" -m immediate -s >/dev/null 2>&1 || true
    rm -rf "$directory"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
[ -z "$user" ] || chown "$user" "$directory"

if ! { as_user "$binaries/initdb" -D "$directory/data" -U postgres -E UTF8 --locale=C --auth=trust --no-sync &&
    as_user "$binaries/pg_ctl" start -D "$directory/data" -l "$directory/server.log" -w -s -o "-k $directory -h '' -p 5432 \
        -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 -c shared_buffers=64MB"; } \
    >"$directory/start.log" 2>&1; then
    echo "$0: PostgreSQL did not start:" >&2
    cat "$directory"/*.log >&2
    exit 1
fi
# Tests wait for servers and agents most of the time.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc 2>/dev/null || sysctl -n hw.ncpu)))}
export AGENTAPI_TEST_DATABASE_URL="postgres://postgres@${directory//\//%2F}:5432/postgres"

# In the background, for a shell handles no signal while it waits for a command in the foreground; in a process group of its own
# (-m), so that a signal, which may reach only us, can be passed on to all of it.
set -m
"$@" &
command=$!
set +m
for signal in INT TERM HUP; do
    # shellcheck disable=SC2064 # the values of now
    trap "kill -$signal -- -$command 2>/dev/null || true" "$signal"
done
code=0
while true; do
    wait "$command" && code=0 || code=$?
    # A signal ends the waiting, not the command.
    kill -0 "$command" 2>/dev/null || break
done
exit "$code"
