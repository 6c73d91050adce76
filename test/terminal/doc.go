// Package terminal holds tests of the capsicum command as a job of an
// interactive shell: a shell on a pseudo terminal starts it, stops it, continues
// it and interrupts it, and must not notice that it is there.
package terminal
