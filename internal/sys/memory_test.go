package sys

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMapsReadOnly asks about files that are open in every way, and ones that can't be
// mapped.
func TestMapsReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for flags, want := range map[int]bool{
		unix.O_RDWR: false, unix.O_WRONLY: false, unix.O_PATH: false, unix.O_RDONLY: true, unix.O_RDONLY | unix.O_APPEND: true,
	} {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := MapsReadOnly(fd); got != want {
			t.Errorf("open with %#x: %v", flags, got)
		}
		_ = unix.Close(fd)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	for _, fd := range append(pipe[:], -1) {
		if MapsReadOnly(fd) {
			t.Errorf("%d, which can't be mapped", fd)
		}
		_ = unix.Close(fd)
	}
}
