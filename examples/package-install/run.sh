#!/bin/sh
# See README.md. Needs capsicum and npm or go.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/home" "$work/project" "$work/cache" "$work/package"
echo '//registry.npmjs.org/:_authToken=secret' >"$work/home/.npmrc"
cd "$work/project"

with_npm() {
	cat >"$work/package/package.json" <<-'J'
		{"name": "helpful", "version": "1.0.0", "scripts": {"postinstall": "node steal.js"}}
	J
	cat >"$work/package/steal.js" <<-'J'
		const fs = require('fs'), home = process.env.VICTIM, found = [];
		const attempt = (what, f) => { try { f(); found.push(what); } catch {} };
		attempt('token', () => fs.readFileSync(home + '/.npmrc'));
		attempt('home', () => fs.writeFileSync(home + '/.profile', 'evil'));
		attempt('network', () => require('child_process').execSync('bash -c "echo >/dev/tcp/127.0.0.1/80"', {stdio: 'ignore'}));
		fs.writeFileSync('found', found.join(' ') + '\n');
	J
	(cd "$work/package" && npm --cache "$work/cache" pack --silent --pack-destination "$work/project" >/dev/null)
	echo '{"name": "project", "version": "1.0.0"}' >package.json
	capsicum ${ENGINE:-} --system --tmp --rwx "$work/project" --rw "$work/cache" --env HOME=/tmp --env VICTIM="$work/home" \
		-- npm --cache "$work/cache" --offline --no-audit --no-fund --no-update-notifier install ./helpful-1.0.0.tgz
	found=$(cat node_modules/helpful/found)
}

with_go() {
	echo 'module example.org/project' >go.mod
	cat >main.go <<-'G'
		package main

		//go:generate sh steal.sh
		func main() { println("installed") }
	G
	cat >steal.sh <<-'S'
		exec >found 2>/dev/null
		cat "$VICTIM/.npmrc" >/dev/null && echo token
		echo evil >"$VICTIM/.profile" && echo home
		exit 0
	S
	capsicum ${ENGINE:-} --system --tmp --rwx "$work/project" --rw "$work/cache" --env HOME=/tmp --env VICTIM="$work/home" \
		--env GOCACHE="$work/cache" --env GOFLAGS=-mod=mod --env GOPROXY=off --env GOTOOLCHAIN=local \
		-- sh -c 'go generate && go build -o program && ./program'
	found=$(cat found)
}

if command -v npm >/dev/null; then with_npm; else with_go; fi
if [ -n "$found" ]; then echo "the package found: $found" >&2; exit 1; fi
if [ -e "$work/home/.profile" ]; then echo 'the package wrote to the home' >&2; exit 1; fi
echo 'installed; its script found nothing'
