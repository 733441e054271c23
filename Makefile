# Every step that a person or the CI repeats. `make` alone lists them.
#
# ARGS goes to the program that a target runs (`make run ARGS='--listen 127.0.0.1:9000'`), CARGO_FLAGS to cargo
# (`make test CARGO_FLAGS=--locked`, as the CI does).

CARGO_FLAGS ?=
ARGS ?=
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

WEB_SOURCES := $(shell find web/src -type f) $(addprefix web/,index.html package.json package-lock.json vite.config.js .npmrc)

TEST_STEPS := tools web cargo-test binary browser
LINT_STEPS := format-check clippy docs architecture

.DEFAULT_GOAL := help
.PHONY: help run web test test-mcp lint check fmt schema config-reference bench soak
.PHONY: tools cargo-test binary browser format-check clippy docs architecture

help: ## List what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST) | while IFS='	' read -r name what; do printf '%-18s %s\n' "$$name" "$$what"; done

run: ## Start the sandbox, with GraphiQL built in where npm is present
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory web; \
	else echo "npm is not installed: /graphiql will say how to build the page"; fi
	cargo run --release $(CARGO_FLAGS) -- sandbox $(ARGS)

web: web/dist/index.html ## Build the GraphiQL page into web/dist

web/dist/index.html: $(WEB_SOURCES)
	scripts/npm-install.sh web
	cd web && npm run build

test: ## Install what the tests need, then run all of them, the browser's included
	@scripts/timed.sh test $(TEST_STEPS)

test-mcp: binary ## Hold MCP's own conformance suites against /mcp of the sandbox
	scripts/install-test-tools.sh node npm
	tests/conformance/run.sh $(TARGET_DIR)/debug/tidegate

lint: ## Check format, clippy, documentation and architecture
	@scripts/timed.sh lint $(LINT_STEPS)

check: ## Everything the CI checks: lint and test
	@scripts/timed.sh check $(LINT_STEPS) $(TEST_STEPS)

fmt: ## Format the Rust code
	cargo fmt

schema: ## Regenerate schema.graphql
	scripts/regenerate.sh schema.graphql cargo run -q $(CARGO_FLAGS) -- schema

config-reference: ## Regenerate docs/configuration.md
	scripts/regenerate.sh docs/configuration.md cargo run -q $(CARGO_FLAGS) -- config --format markdown --defaults

bench: ## Run the benchmarks, each beside its reference
	scripts/install-test-tools.sh wrk redis-server redis-benchmark node npm
	scripts/npm-install.sh benches/peers
	cargo bench $(CARGO_FLAGS) $(ARGS)

soak: tools ## Run the long variants of the randomised tests, and the long outages
	cargo test --release --lib --test it $(CARGO_FLAGS) -- --ignored --nocapture --test-threads=1 soak

# The steps of test, lint and check, in case only one is wanted.

tools: ## Step of test: the tools that cargo does not bring
	@scripts/install-test-tools.sh

cargo-test: ## Step of test: all Rust tests
	cargo test $(CARGO_FLAGS) $(ARGS)

binary: ## Step of test: the development binary
	cargo build $(CARGO_FLAGS)

browser: ## Step of test: GraphiQL in headless Chromium against that binary
	tests/browser/run.sh $(TARGET_DIR)/debug/tidegate

format-check: ## Step of lint: formatting
	cargo fmt --check

clippy: ## Step of lint: clippy, warnings are errors
	cargo clippy --all-targets $(CARGO_FLAGS) -- -D warnings

docs: ## Step of lint: documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items $(CARGO_FLAGS)

architecture: ## Step of lint: the import table, vocabulary and file sizes of ARCHITECTURE.md
	cargo test --test it $(CARGO_FLAGS) architecture
