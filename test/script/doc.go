// Package script holds tests of the capsicum command that read like a session
// at a terminal. See README.md beside this file.
package script
