//go:build realworld

// Package realworld runs programs that carry Capsicum code of their own, built from
// Debian's sources by test/realworld/run: that they are confined while they work, and
// that their work is right.
package realworld
