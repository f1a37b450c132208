# What a developer and CI run. Every target works on a bare machine with Go, git and make.
#   make test     everything that CI runs, tier by tier, with each tier's time; as root it installs the Debian packages that tests need
#   make check    formatting and static checks alone
#   make unit     go test alone
#   make nightly  the same for longer: more kills, more random cases, the race detector, fuzzing
#   make bench    the tables of docs/benchmarks.md, measured here; for SQLite it needs a C compiler, for PostgreSQL Debian's package
#   make build    stripped programs for this machine, in dist/
#   make router   the same for a router's processor: ARCH=mipsle (or arm, arm64), in OUT, dist/$(ARCH) by default

GO     ?= go
GOTEST ?= $(GO) test
TIERS  ?= packages check cross unit

.PHONY: test packages check cross unit nightly nightly-unit race fuzz bench peers build router

test:
	@$(GO) run -C tools ./tiers $(TIERS)

packages:
	@.ci/packages

check:
	@.ci/check

cross:
	@.ci/cross

unit:
	$(GOTEST) -timeout 15m ./...

nightly:
	@TIDEOVER_NIGHTLY=1 $(GO) run -C tools ./tiers packages check cross nightly-unit race peers fuzz

nightly-unit:
	RAPID_CHECKS=5000 $(GOTEST) -count=1 -timeout 5h ./...

race:
	CGO_ENABLED=1 $(GOTEST) -race -count=1 -timeout 2h ./...

fuzz:
	@.ci/fuzz $(or $(FUZZTIME),10m)

# The module that measures other stores is vetted and tested apart: it compiles a SQLite and a NATS server, which takes minutes.
peers:
	cd bench/peers && $(GO) vet ./... && $(GOTEST) ./...

bench:
	$(GO) run ./bench

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o dist/ ./cmd/...

# Where flash is smallest, code is not copied into its callers, but for arithmetic and the runtime: docs/decisions/026-mipsle-is-built-without-inlining.md.
ARCH ?= mipsle
OUT  ?= dist/$(ARCH)
small_mipsle := -gcflags=all=-l -gcflags=crypto/...= -gcflags=internal/...= -gcflags=runtime/...= -gcflags=runtime=

router:
	GOOS=linux GOARCH=$(ARCH) GOARM=7 GOMIPS=softfloat CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' $(small_$(ARCH)) -o $(OUT)/ ./cmd/...
