# make help lists the targets, CONTRIBUTING.md says when to run which.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI    = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
ACTIONLINT  = github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

MODULE   ?= .
FUZZTIME ?= 5m

# The modules with the longest tests come first.
ALL = ./sqlstore/... ./otpstats/... ./internal/e2e/... ./smtpsender . work

# The folder of tools that are compiled once.
TOOLS = $(shell go env GOCACHE)/otp-tools

.PHONY: help quick test servers format tidy tidy-check lint race allocations sim check-consumer stress fuzz nightly nightly-test nightly-sim bench golangci vuln actionlint licenses release

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 16

quick: format ## Format, vet and the short tests of one module: make quick MODULE=sqlstore
	cd $(MODULE) && go vet ./... && go test -short -vet=off ./...

test: ## Everything that must be true before a change lands (needs servers)
	@scripts/stages.sh servers format tidy-check lint race allocations sim check-consumer

servers: ## Install the servers that the tests start, where they are missing
	@scripts/servers.sh

format: ## Check the format of all Go files, and the size of all files
	@out=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$out" ]; then echo "not formatted (gofmt -w):"; echo "$$out"; exit 1; fi
	@out=$$(git ls-files -z | xargs -0 sh -c 'find "$$@" -size +500k' find); \
	if [ -n "$$out" ]; then echo "larger than 500 kB, which no source file is:"; echo "$$out"; exit 1; fi

tidy: ## Tidy go.mod and go.sum of all modules
	@scripts/tidy.sh

tidy-check:
	@scripts/tidy.sh -diff

# From here on, everything is compiled for the race detector: compiling the
# dependencies a second time takes longer than the tests.
lint: ## Run go vet and staticcheck on all modules
	go vet -race work
	GOBIN=$(TOOLS) go install $(STATICCHECK)
	GOFLAGS="$$(go env GOFLAGS) -race" $(TOOLS)/staticcheck -checks inherit,ST1000,ST1020,ST1021,ST1022 work

# Four packages at a time: those with servers mostly wait.
race: export OTP_TEST_NO_SKIP = 1
race: ## Run all tests with the race detector, in random order
	go test -race -vet=off -shuffle=on -count=1 -timeout 60m -p 4 $(or $(PKG),$(ALL))

# The race detector changes what is allocated, so these tests leave themselves out above.
allocations: ## Run the tests that count allocations, without the race detector
	go test -vet=off -count=1 -run '_allocations$$' . ./otpotel

# Under the race detector these tests run only a sample, since one goroutine runs
# at a time and all takes fifteen times as long.
sim: ## Enumerate interleavings and simulate years, without the race detector
	go test -vet=off -count=1 -timeout 3h ./internal/e2e/sim

check-consumer: ## Build all modules from tags, as users do
	@scripts/consumer-check.sh

stress: ## Run the tests on a busy machine, repeatedly: make stress PKG=./relay/... N=20
	@N=$(N) PKG="$(PKG)" scripts/stress.sh

fuzz: ## Run all fuzz targets, FUZZTIME each (5m)
	@scripts/fuzz.sh $(FUZZTIME)

nightly: nightly-test nightly-sim fuzz bench ## Run what takes hours: all rounds of the tests, fuzzing, benchmarks

nightly-sim: export OTP_TEST_NIGHTLY = 1
nightly-sim: sim

nightly-test: export OTP_TEST_NIGHTLY = 1
nightly-test: export OTP_TEST_NO_SKIP = 1
nightly-test: servers
	go test -race -vet=off -shuffle=on -count=1 -timeout 5h $(or $(PKG),$(ALL))

bench: ## Run the benchmarks, for the figures in docs/speed.md
	go test -run '^$$' -bench . -benchmem ./internal/e2e/bench

golangci: ## Run the linters of .golangci.yml (golangci-lint fmt formats)
	GOBIN=$(TOOLS) go install $(GOLANGCI)
	GOFLAGS="$$(go env GOFLAGS) -race" $(TOOLS)/golangci-lint run $$(go list -m -f '{{.Dir}}/...')

vuln: ## Look for known vulnerabilities in the code that is called
	go run $(GOVULNCHECK) work

actionlint: ## Check the workflows
	go run $(ACTIONLINT)

licenses: ## Write docs/licenses.md
	@scripts/licenses.sh

release: ## Check and tag all modules: make release VERSION=v0.2.0
	@scripts/release.sh $(VERSION)
