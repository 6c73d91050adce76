package supervisor

import (
	"slices"
	"testing"

	"github.com/capsicum-go/capsicum/internal/syscalls"
)

// TestEveryNamedCallAsks: a handler for a call that the filter never asks about
// would be dead, and its name perhaps misspelt.
func TestEveryNamedCallAsks(t *testing.T) {
	asks := syscalls.Asks(testOptions())
	for _, a := range pathHandlers() {
		if !slices.Contains(asks, a.call) {
			t.Errorf("%s has a handler, and never asks", a.call)
		}
	}
}
