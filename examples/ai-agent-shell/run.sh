#!/bin/sh
# See README.md. Needs capsicum and bash.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/project" "$work/project/src" "$work/project/tests" "$work/notes"
echo 'print("hello")' >"$work/project/src/main.py"
echo 'assert True' >"$work/project/tests/test.py"
echo 'PASSWORD=hunter2' >"$work/project/.env"
cd "$work/project"
export API_TOKEN=secret

# No network, and no more than a minute of computing.
agent() {
	capsicum ${ENGINE:-} --system --tmp --ro src --ro tests --rw "$work/notes" --limit cpu=60s -- bash -c "$1"
}

# What it was asked for.
agent 'grep -rn hello src'
agent "wc -l src/*.py >$work/notes/size && cat $work/notes/size"
agent 'echo draft >/tmp/draft && cat /tmp/draft'

# What it was talked into. Each works outside.
fail() { echo "the agent could $1" >&2; exit 1; }
if agent 'cat .env' 2>/dev/null; then fail 'read a secret'; fi
if agent 'rm tests/test.py' 2>/dev/null; then fail 'remove a test'; fi
if agent 'echo x >>src/main.py' 2>/dev/null; then fail 'change the project'; fi
if agent 'echo "$API_TOKEN" | grep .'; then fail 'see a token'; fi
if agent 'echo >/dev/tcp/127.0.0.1/80' 2>/dev/null; then fail 'reach the network'; fi
if agent "ls -d $HOME/.ssh" 2>/dev/null; then fail 'see keys'; fi
test -e tests/test.py
echo 'the project is as it was'
