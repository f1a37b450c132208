# What a developer and CI run. Every target works on a bare machine with Go, git and make.
#   make test     everything that CI runs, tier by tier, with each tier's time
#   make check    formatting and static checks alone
#   make nightly  the same tests for longer: more kills, more random cases, fuzzing, the race detector
#   make bench    the table of docs/benchmarks.md, measured here
#   make build    stripped programs for this machine, in dist/

GO     ?= go
TOOL    = $(GO) tool -modfile=tools/go.mod
GOTEST ?= $(GO) test
TIERS  ?= check cross unit

# Enums of other modules need not be listed in full by a switch; ours must.
FOREIGN_ENUMS = ^(crypto|encoding|go|net|os|reflect|syscall|time|github\.com|golang\.org|go\.etcd\.io)[./]

.PHONY: test check cross unit nightly fuzz race bench build

test:
	@$(GO) run -C tools ./tiers $(TIERS)

check:
	@echo "gofumpt";    out=$$($(TOOL) gofumpt -l .) && [ -z "$$out" ] || { echo "not formatted (run: go tool -modfile=tools/go.mod gofumpt -w .):"; echo "$$out"; exit 1; }
	@echo "go vet";     $(GO) vet ./... && $(GO) vet -tags die ./internal/die && $(GO) vet -C tools ./...
	@echo "staticcheck"; $(TOOL) staticcheck ./...
	@echo "exhaustive"; $(TOOL) exhaustive -ignore-enum-types '$(FOREIGN_ENUMS)' ./...
	@echo "deadcode";   out=$$($(TOOL) deadcode -test ./...) && [ -z "$$out" ] || { echo "$$out"; exit 1; }
	@echo "go fix";     out=$$($(GO) fix -diff ./...) && [ -z "$$out" ] || { echo "$$out"; exit 1; }

cross:
	@.ci/cross

unit:
	$(GOTEST) -timeout 15m ./...

# The budgets of the long tests are read from TIDEOVER_NIGHTLY; see CONTRIBUTING.md.
nightly:
	@TIDEOVER_NIGHTLY=1 $(GO) run -C tools ./tiers check cross nightly-unit race fuzz

nightly-unit:
	$(GOTEST) -count=1 -timeout 5h ./... -rapid.checks=5000

race:
	CGO_ENABLED=1 $(GOTEST) -race -count=1 -timeout 2h ./...

fuzz:
	@.ci/fuzz $(or $(FUZZTIME),5m)

bench:
	$(GO) run ./bench

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o dist/ ./cmd/...
