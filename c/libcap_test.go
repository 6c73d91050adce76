package c

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestBesideLibcap links a program with libcap and this library, in both orders of
// headers and of libraries.
func TestBesideLibcap(t *testing.T) {
	lib := library(t, "shared", "gcc", "-O2 -g")
	for _, order := range []string{
		"-lcapsicum -lcap", "-lcap -lcapsicum", "-lcapsicum -l:libcap.a", "-l:libcap.a -lcapsicum", "-static -lcapsicum -lcap", "-static -lcap -lcapsicum",
	} {
		for _, headers := range []string{"-DOURS_FIRST", "-UOURS_FIRST"} {
			t.Run(order+" "+headers, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "libcap")
				args := []string{"-std=c99", "-D_GNU_SOURCE", headers, "-Wall", "-Wextra", "-Werror", "-Iinclude", "tests/libcap.c",
					"-L" + lib, "-Wl,-rpath," + lib, "-o", path}
				command(t, nil, "gcc", append(args, strings.Fields(order)...)...)
				command(t, nil, path)
				command(t, []string{"CAPSICUM_SUPERVISOR=/nonexistent", "TEST_ALONE=1"}, path)
			})
		}
	}
}
