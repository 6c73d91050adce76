// Package clibrary makes the calls of the C library, for the cases of package
// conformance. It is built with the tag clibrary only, by the test that has built
// the library: see c_test.go there.
package clibrary
