// Package conformance holds an implementation of the package capsicum to what
// Capsicum is, through the public API and the system calls of programs only, so
// that the same cases run on Linux and on FreeBSD.
//
// A case is one call made in a process of its own kind: see [Case] in
// case_test.go. Columns are the circumstances that each case runs in: as root or
// as an ordinary user, alone or beside a thread that never rests, with a
// supervisor or with filters alone ("static").
//
//	make conformance    every case in every column, and a table
//	go test ./test/conformance    every case once and in the static form
package conformance

// Inexact lists the cases that the implementation is known not to meet, with the
// reason. Such a case runs all the same, and fails the suite when it is met after
// all. A name that ends in "*" stands for every case that begins so.
var Inexact = []struct {
	Case    string // chapter/name
	Column  string // "static" or "supervised"; "" is every column
	Because string // one sentence
}{}
