// Package exetest writes programs for tests to execute, the tests' own among them: the go
// command builds that where only its own user can go.
package exetest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// WriteFile is [os.WriteFile] during which no child of this process begins. A child would
// have the file open for writing until it executes something itself, and nobody could
// execute the file meanwhile (ETXTBSY).
func WriteFile(path string, program []byte, mode os.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, program, mode)
}

// WriteSelf copies this program to path.
func WriteSelf(path string, mode os.FileMode) error {
	self, err := os.ReadFile("/proc/self/exe") // also where the directory is another user's
	if errors.Is(err, os.ErrNotExist) {
		self, err = os.ReadFile(os.Args[0])
	}
	if err != nil {
		return err
	}
	return errors.Join(WriteFile(path, self, mode), os.Chmod(path, mode))
}

// Self copies this program to where every user can execute it, until the test ends, and
// returns the copy's name.
func Self(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "capsicum-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "test")
	if err := errors.Join(os.Chmod(dir, 0o755), WriteSelf(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}
