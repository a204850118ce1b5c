#!/usr/bin/env bash
# Tests with real agent programs, against a stand-in for the model.
#
# Installs Claude Code, Codex and Aider, and what Claude and Codex speak the Agent Client Protocol with, into AGENTAPI_TEST_AGENTS_DIR (~/.cache/agentapi-test-agents), once: remove the directory to
# get newer ones. What cannot be installed is skipped with a line about it. Needs npm and Python; on Debian as root it installs them.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-dependencies.sh cc postgres
export AGENTAPI_TEST_AGENTS_DIR=${AGENTAPI_TEST_AGENTS_DIR:-$HOME/.cache/agentapi-test-agents}
directory=$AGENTAPI_TEST_AGENTS_DIR
mkdir -p "$directory/bin"

npm_package() {
    scripts/install-dependencies.sh npm && timeout 300 npm install --prefix "$1" --no-audit --no-fund "$2"
}

python_package() {
    scripts/install-dependencies.sh python3-venv && python3 -m venv "$1" && timeout 600 "$1/bin/pip" install "$2"
}

# install AGENT PROGRAM HOW PACKAGE [FLAG]: PROGRAM is its path in its own directory. It is linked once it runs with FLAG.
install() {
    local agent=$1 program=$directory/$1/$2
    [ ! -x "$directory/bin/$agent" ] || return 0
    echo "Installing $agent" >&2
    rm -rf "${directory:?}/$agent"
    if "$3" "$directory/$agent" "$4" && timeout 60 "$program" "${5:---version}" </dev/null; then
        ln -sfn "$program" "$directory/bin/$agent"
    fi >"$directory/$agent.log" 2>&1
    [ -x "$directory/bin/$agent" ] || echo "skipped: $agent: it could not be installed: $(tail -n 1 "$directory/$agent.log")" >&2
}

# One at a time, if several run this.
exec 9>"$directory/lock"
flock 9
install claude node_modules/.bin/claude npm_package @anthropic-ai/claude-code@latest
install codex node_modules/.bin/codex npm_package @openai/codex@latest
install aider bin/aider python_package aider-chat
install claude-agent-acp node_modules/.bin/claude-agent-acp npm_package @zed-industries/claude-agent-acp
install codex-acp node_modules/.bin/codex-acp npm_package @zed-industries/codex-acp --help
exec 9>&-

scripts/with-test-servers.sh cargo test --locked --test agents -- --nocapture
