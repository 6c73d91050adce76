// Package c holds the C library: headers in include, sources in src, tests in
// tests. What of it follows from the Go packages is written by the program in gen.
package c

//go:generate go run ./gen
