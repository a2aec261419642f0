# make test            everything that CI checks
# make bench           ratios to the bare calls and to other libraries
# make check-consumer  build every module from tags, as an outsider would
# make fuzz            all fuzz targets, FUZZTIME each (10m)
# make release VERSION=v0.1.0
#                      check, tag all modules at one version; pushes nothing

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
MODULES     = $(shell git ls-files --cached --others --exclude-standard '*go.mod' | xargs -n1 dirname)
FUZZTIME   ?= 10m

# A server that a test cannot find is a failure here.
export OTP_TEST_NO_SKIP = 1

.PHONY: test servers format lint race modules fuzz-short fuzz bench check-consumer release

test: servers format lint race modules fuzz-short check-consumer

servers:
	@scripts/servers.sh

format:
	@out=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$out" ]; then echo "not formatted:"; echo "$$out"; exit 1; fi
	@out=$$(git ls-files -z | xargs -0 -I{} find {} -size +500k); \
	if [ -n "$$out" ]; then echo "too large for a source, a program perhaps:"; echo "$$out"; exit 1; fi

lint:
	go vet work
	go run $(STATICCHECK) -checks inherit,ST1000,ST1020,ST1021,ST1022 work

race:
	go test -race -shuffle=on -count=1 ./...

modules:
	@scripts/modules.sh $(MODULES)

fuzz-short:
	@scripts/fuzz.sh 3s

fuzz:
	@scripts/fuzz.sh $(FUZZTIME)

# The tables that the README quotes. Nothing fails for being slow.
bench:
	@cd bench && go run .

check-consumer:
	@scripts/consumer-check.sh

release:
	@scripts/release.sh $(VERSION)
