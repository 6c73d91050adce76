#!/bin/sh
# See README.md. Needs capsicum and gzip.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo 'contents of the attachment' | gzip >"$work/attachment.gz"

capsicum ${ENGINE:-} --no-proc --limit mem=512M,cpu=10s -- gzip -d <"$work/attachment.gz" >"$work/attachment"
cat "$work/attachment"

# The same grants for a program that was taken over.
capsicum ${ENGINE:-} --no-proc --limit mem=512M,cpu=10s -- bash -c '
	for name in "$1" /etc/passwd "$HOME" /tmp /usr/share; do
		if [ -e "$name" ]; then echo "$name is there"; fi
	done
	if (echo >/dev/tcp/127.0.0.1/80) 2>/dev/null; then echo "the network is there"; fi
	echo "looked for everything"
' taken-over "$work/attachment.gz" >"$work/found" 2>/dev/null </dev/null
cat "$work/found"
if grep 'is there' "$work/found"; then exit 1; fi
