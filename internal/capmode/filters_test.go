package capmode

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/slot"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// TestFilters: what is kept for one process is what would be compiled for another
// that has the same rights, whatever its ioctl commands and fcntls are.
func TestFilters(t *testing.T) {
	var f filters
	rapid.Check(t, func(t *rapid.T) {
		caps := filecaps.Full()
		var err error
		if caps, err = caps.LimitIoctls(rapid.SliceOfN(rapid.Uint32(), 0, 3).Draw(t, "ioctls")); err != nil {
			t.Fatal(err)
		}
		caps.Fcntls &= rights.Fcntls(rapid.Uint32().Draw(t, "fcntls"))
		for _, r := range []rights.Right{rights.Read, rights.Write, rights.SeekTell, rights.Event, rights.MmapX, rights.Ioctl} {
			if rapid.Bool().Draw(t, rights.Of(r).String()) {
				caps.Rights.Clear(r)
			}
		}
		fd, mode, readOnly := rapid.IntRange(0, 255).Draw(t, "fd"), rapid.Bool().Draw(t, "mode"), rapid.Bool().Draw(t, "read only")
		got, err := f.descriptor(fd, caps, mode, readOnly)
		if err != nil {
			t.Fatal(err)
		}
		want, err := slot.Descriptor(sysno.Native, fd, caps, slot.Options{CapabilityMode: mode, ReadOnly: readOnly, Only: unasked()})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatal("a filter of other rights")
		}
		if len(f.made) > maxFilters {
			t.Fatalf("%d filters are kept", len(f.made))
		}
	})
}
