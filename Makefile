# Everything that a clone needs is behind these targets; `make help` lists them.
# Works with GNU make 3.81 and newer.

.DEFAULT_GOAL := help

GO      ?= go
CONFIG  ?= config.hcl
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)

EXAMPLES := $(notdir $(patsubst %/,%,$(dir $(wildcard plugins/examples/*/main.go))))
GOFILES   = $(shell find . \( -path ./bin -o -path ./.stephost -o -path ./.git \) -prune -o -name '*.go' -print)
TOOLS    := $(CURDIR)/bin/tools
CHECKERS := honnef.co/go/tools/cmd/staticcheck

# One package's tests may not take longer than this; all of them together stay
# under ten minutes on two cores.
TEST_TIMEOUT ?= 8m
TEST_FLAGS   ?=

# Tests wait for processes and databases more than they compute, so that the tests of
# more packages run at once than there are cores. lint vets what is tested here.
TEST_PACKAGES ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); [ "$$n" -gt 4 ] && echo "$$n" || echo 4)

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: go ## build bin/stephost and bin/plugins/<example>
	@mkdir -p bin/plugins
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/stephost ./cmd/stephost
	@for name in $(EXAMPLES); do \
		echo "$(GO) build -o bin/plugins/$$name ./plugins/examples/$$name"; \
		$(GO) build -o "bin/plugins/$$name" "./plugins/examples/$$name" || exit 1; \
	done

# exec, so that a SIGTERM for make reaches the host itself. On Ctrl-C the
# terminal signals both; make then waits for the host to drain.
.PHONY: run
run: postgres build ## start everything, send sample orders and show each step (Ctrl-C drains and stops)
	@exec bin/stephost dev --config $(CONFIG) --samples

.PHONY: test
test: go test-postgres cgo lint generate-check tidy-check test-sdks ## all checks, and all tests under the race detector
	$(GO) test -race -vet=off -p $(TEST_PACKAGES) -timeout $(TEST_TIMEOUT) $(TEST_FLAGS) ./...
	cd $(SUITE) && $(GO) test -vet=off -timeout $(TEST_TIMEOUT) $(TEST_FLAGS) ./...

.PHONY: test-quick
test-quick: go test-postgres test-sdks ## the tests alone, without the race detector
	$(GO) test -timeout $(TEST_TIMEOUT) $(TEST_FLAGS) ./...
	cd $(SUITE) && $(GO) test -timeout $(TEST_TIMEOUT) $(TEST_FLAGS) ./...

.PHONY: mutants
mutants: go test-postgres ## break the delivery code in each way that matters and expect the model to notice
	STEPHOST_MUTANTS=all $(GO) test -run '^TestMutants$$' -v -timeout 60m ./host/processor

.PHONY: lint
lint: go $(TOOLS)/.checkers ## gofmt, go vet and staticcheck
	@unformatted=$$(gofmt -l $(GOFILES)); \
	if [ -n "$$unformatted" ]; then \
		printf 'not gofmt-clean, run `make fmt`:\n%s\n' "$$unformatted" >&2; exit 1; \
	fi
	$(GO) vet ./...
	$(TOOLS)/staticcheck ./...
	cd $(SUITE) && $(GO) vet ./... && $(TOOLS)/staticcheck ./...

.PHONY: fmt
fmt: go ## format the Go and protocol files
	@gofmt -w $(GOFILES)
	@if [ -x $(TOOLS)/buf ]; then cd plugin/protocol && $(TOOLS)/buf format -w; fi

.PHONY: generate
generate: go $(TOOLS)/.all ## regenerate the code of the plugin protocol
	cd plugin/protocol && PATH="$(TOOLS):$$PATH" buf generate
	cp plugin/protocol/stephost/plugin/v1/plugin.proto plugin/node/plugin.proto
	cd plugin/protocol && $(TOOLS)/buf build --as-file-descriptor-set --exclude-source-info -o ../python/stephost/protocol.binpb
	@TOOLS=$(TOOLS) scripts/generate-check.sh --record

.PHONY: generate-check
generate-check: go ## check that the generated code is what `make generate` wrote
	@scripts/generate-check.sh --unchanged || $(MAKE) --no-print-directory generate-check-anew

.PHONY: generate-check-anew
generate-check-anew: go $(TOOLS)/.all
	@TOOLS=$(TOOLS) scripts/generate-check.sh

.PHONY: tidy-check
tidy-check: go ## check that go.mod and go.sum are tidy
	$(GO) mod tidy -diff
	cd $(SUITE) && $(GO) mod tidy -diff

# The measuring has a module of its own, so that its peers are not in the product's.
SUITE := bench/suite

.PHONY: bench-build
bench-build: build
	cd $(SUITE) && $(GO) build -o $(CURDIR)/bin/bench-suite .

.PHONY: bench
bench: postgres bench-build ## measure all that docs/performance.md has, beside peers and bare SQL (BENCH="--list", BENCH="--only NAME")
	@exec bin/bench-suite $(BENCH)

.PHONY: bench-quick
bench-quick: postgres bench-build ## the same with fewer steps and rounds, in under two minutes
	@exec bin/bench-suite --quick $(BENCH)

.PHONY: chaos-build
chaos-build: go test-postgres
	@mkdir -p bin
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/stephost ./cmd/stephost
	$(GO) build -o bin/chaos-handler ./chaos/handler
	$(GO) build -o bin/chaos ./chaos

.PHONY: chaos
chaos: chaos-build ## inject every fault with the leases of production and audit each run (CHAOS="--only NAME")
	@exec bin/chaos --form long $(CHAOS)

.PHONY: chaos-quick
chaos-quick: chaos-build ## inject every fault with short leases, in a quarter of an hour (CHAOS="--only NAME")
	@exec bin/chaos --form quick $(CHAOS)

DURATION ?= 1h

.PHONY: soak
soak: chaos-build ## constant load with random faults: nothing may grow, be lost or settle twice (DURATION=1h SOAK="--out FILE")
	@exec bin/chaos soak --duration $(DURATION) $(SOAK)

FUZZTIME  ?= 1m
FUZZFLAGS ?=

.PHONY: fuzz
fuzz: go ## run each fuzz target for a minute (FUZZTIME=1m) and stop at the first finding
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' FUZZFLAGS='$(FUZZFLAGS)' scripts/fuzz.sh

.PHONY: postgres
postgres: ## install PostgreSQL if it is missing and DATABASE_URL is not set
	@[ -n "$${DATABASE_URL:-}" ] || scripts/install-postgres.sh

.PHONY: clean
clean: ## remove what was built (the data of `make run` stays in .stephost)
	rm -rf bin

# The tests start servers of their own, also where DATABASE_URL is set.
.PHONY: test-postgres
test-postgres:
	@scripts/install-postgres.sh
	@scripts/install-pgbouncer.sh

# The SDKs for other languages, where the languages are here.
.PHONY: test-sdks
test-sdks:
	@scripts/install-runtimes.sh
	@if [ -e plugin/node/node_modules/.package-lock.json ]; then cd plugin/node && node --test test/*.test.js; fi
	@if python=$$(plugin/python/find-python 2>/dev/null); then cd plugin/python && "$$python" -m unittest discover -q -s tests -t .; fi

.PHONY: go
go:
	@command -v $(GO) >/dev/null || { echo 'Go is missing: install Go 1.26 or newer, see https://go.dev/dl' >&2; exit 1; }

.PHONY: cgo
cgo:
	@command -v "$$($(GO) env CC | cut -d' ' -f1)" >/dev/null || { \
		echo 'the race detector needs a C compiler: install gcc and libc6-dev (Debian, Ubuntu) or the Xcode command line tools (macOS), or use `make test-quick`' >&2; exit 1; }
	@[ "$$($(GO) env CGO_ENABLED)" = 1 ] || { echo 'the race detector needs CGO_ENABLED=1' >&2; exit 1; }

# The generators take over a minute to build, and the tests do not need them.
$(TOOLS)/.checkers: tools/go.mod tools/go.sum
	@mkdir -p $(TOOLS)
	cd tools && $(GO) build -o $(TOOLS)/ $(CHECKERS)
	@touch $@

$(TOOLS)/.all: tools/go.mod tools/go.sum
	@mkdir -p $(TOOLS)
	cd tools && $(GO) build -o $(TOOLS)/ tool
	@touch $@
