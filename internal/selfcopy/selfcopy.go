// Package selfcopy makes the program of a test executable by every user: the go command
// builds it where only its own user can go.
package selfcopy

import (
	"errors"
	"os"
	"testing"
)

// Make copies this program, until the test ends, and returns the copy's name.
func Make(t testing.TB) string {
	t.Helper()
	f, err := os.CreateTemp("/tmp", "capsicum-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(f.Name()) })
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		_, err = f.Write(self)
	}
	if err := errors.Join(err, f.Chmod(0o755), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}
