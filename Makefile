.PHONY: help run test test-agents test-compose lint bench

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

run: ## Build and run the server; with no DATABASE_URL it runs its own PostgreSQL
	@scripts/install-dependencies.sh cc
	@[ -n "$$DATABASE_URL" ] || grep -qs '^DATABASE_URL=.' .env || scripts/install-dependencies.sh postgres
	AGENT_ALLOW_CUSTOM_COMMANDS=true cargo run --release --locked -- serve

test: ## Run every test; on Debian as root, install first what that needs
	scripts/install-dependencies.sh
	@scripts/install-dependencies.sh npm || echo "going on without npm: what needs it is skipped with a line about it" >&2
	scripts/with-test-servers.sh cargo test --locked
	$(MAKE) test-agents test-compose

test-agents: ## Test with the real agent programs
	@if [ -e scripts/test-agents.sh ]; then bash scripts/test-agents.sh; fi

test-compose: ## Test the compose file
	@if [ -e scripts/test-compose.sh ]; then bash scripts/test-compose.sh; fi

lint: ## Check format and lints
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

bench: ## Measure what docs/PERFORMANCE.md tells; BENCH='--quick memory' for a part
	scripts/install-dependencies.sh
	scripts/with-test-servers.sh cargo bench --locked --bench figures -- $(BENCH)
