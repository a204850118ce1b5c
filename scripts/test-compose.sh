#!/usr/bin/env bash
# Brings docker-compose.multitenant.yml up for real and checks it against its guide, docs/DOCKER_REDIS_SETUP.md.
#
# Takes the running Docker engine if it can pull the public images; else, as root on Debian, a private one with stand-ins for
# them (scripts/test-compose/private-engine.sh). Where there is neither, says so in a line "skipped: ..." and succeeds.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/test-compose
readonly here

if timeout 10 docker info >/dev/null 2>&1 && timeout 300 docker pull --quiet redis:7-alpine >/dev/null 2>&1; then
    # Ports that other programs of this machine may have are left to the engine.
    export AGENTAPI_PORT=0 REDIS_PORT=0 REDIS_INSIGHTS_PORT=0
    exec "$here/checks.sh"
fi

status=0
"$here/private-engine.sh" "$here/checks.sh" || status=$?
if [ "$status" -eq 69 ]; then
    echo "skipped: no Docker engine that reaches the public images, and no private one (see above)"
    exit 0
fi
exit "$status"
