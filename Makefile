# make help lists the targets. Variables: PREFIX, LIBDIR, DESTDIR, FUZZTIME, TESTFLAGS.

GO ?= go
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
FUZZTIME ?= 20s
TESTFLAGS ?=

# Static, so that the sandbox needs to grant nothing for us; stamped by Go.
export CGO_ENABLED ?= 0

ARM64 = GOOS=linux GOARCH=arm64
# The systems that a pure package must compile on.
ELSEWHERE = freebsd darwin openbsd windows

.PHONY: help build c c-test test test-root escape conformance kernels realworld bench fuzz lint generate check install clean deps

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 12

build: ## bin/capsicum
	$(GO) build -trimpath -o bin/capsicum ./cmd/capsicum

c: ## bin/c: the C library
	$(MAKE) -C c PREFIX=$(PREFIX) LIBDIR=$(LIBDIR)

c-test: ## the C library's tests, which test includes
	$(GO) test -count=1 $(TESTFLAGS) ./c

test: ## every test; as root, those that matter run as an ordinary user too
	$(GO) test -count=1 -timeout 30m $(TESTFLAGS) ./...

test-root: ## every test, as root
	@if [ "$$(id -u)" = 0 ]; then $(MAKE) test; else sudo env "PATH=$$PATH" $(MAKE) test; fi

escape: ## the attacks of docs/threat-model.md, each race for a minute
	$(GO) test -count=1 -v -timeout 2h $(TESTFLAGS) ./test/escape -escape.duration=60s
	$(GO) test -count=1 -timeout 2h $(TESTFLAGS) ./test/escape -escape.library
	$(GO) test -count=1 -timeout 1h $(TESTFLAGS) ./test/nested -nested.full

conformance: ## every case of Capsicum in every column, and a table
	$(GO) test -count=1 -v -timeout 30m -run TestConformance $(TESTFLAGS) ./test/conformance -conformance.full

kernels: ## a check list under Debian's stock kernels, in an emulated machine; ARCH=arm64: in another
	test/kernels/run

realworld: ## programs with Capsicum code of their own, from Debian's sources, confined
	test/realworld/run

bench: build ## side by side with plain execution, bubblewrap and firejail
	$(GO) run ./bench

fuzz: ## every fuzz target for FUZZTIME
	@grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do \
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$$file" | while read -r target; do \
			echo "== $$file $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" || exit 1; \
		done || exit 1; \
	done

lint: ## gofmt, vet, staticcheck, the other architecture and systems
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
		if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(ARM64) $(GO) vet ./...
	@for os in $(ELSEWHERE); do \
		pkgs=". ./rights ./unixcap ./shm ./procdesc"; if [ $$os = freebsd ]; then pkgs="$$pkgs ./test/conformance"; fi; \
		echo "vet $$pkgs for $$os"; GOOS=$$os $(GO) vet $$pkgs || exit 1; \
	done
	$(GO) tool staticcheck ./...
	@for f in .ci/run script/* test/kernels/run test/kernels/init test/kernels/check test/realworld/run; do sh -n "$$f" || exit 1; done
	bash -n completions/capsicum.bash

generate: ## what is written by programs: call numbers, docs/syscalls.md
	$(GO) generate ./...

check: lint build ## what CI runs: lint, build, generated files, tests
	@before=$$(git status --porcelain | sort); $(GO) generate ./... ; \
		after=$$(git status --porcelain | sort); \
		if [ "$$before" != "$$after" ]; then echo "make generate changes files; commit them:"; git status --short; exit 1; fi
	$(MAKE) test

install: build c ## to DESTDIR/PREFIX
	$(MAKE) -C c install PREFIX=$(PREFIX) LIBDIR=$(LIBDIR) DESTDIR=$(DESTDIR)
	install -D -m 755 bin/capsicum $(DESTDIR)$(PREFIX)/bin/capsicum
	install -D -m 644 docs/man/capsicum.1 $(DESTDIR)$(PREFIX)/share/man/man1/capsicum.1
	install -D -m 644 completions/capsicum.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/capsicum
	install -D -m 644 completions/_capsicum $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_capsicum
	install -D -m 644 completions/capsicum.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/capsicum.fish

clean: ## what build made
	rm -rf bin

deps: ## Debian packages that the tests use, where missing
	script/deps
