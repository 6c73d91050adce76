package sysno

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestTablesAreSortedAndUnique(t *testing.T) {
	for _, a := range Arches() {
		names := make(map[string]bool)
		last := -1
		for _, e := range Table(a) {
			if e.Nr <= last {
				t.Errorf("%s: %s has number %d after %d", a, e.Name, e.Nr, last)
			}
			if names[e.Name] {
				t.Errorf("%s: %s is there twice", a, e.Name)
			}
			if e.Nr >= X32Bit {
				t.Errorf("%s: %s has an x32 number", a, e.Name)
			}
			names[e.Name], last = true, e.Nr
		}
	}
}

func TestLookUp(t *testing.T) {
	for _, c := range []struct {
		arch Arch
		name string
		nr   int
	}{
		{AMD64, "read", 0}, {AMD64, "openat", 257}, {AMD64, "newfstatat", 262}, {AMD64, "uretprobe", 335},
		{AMD64, "rseq_slice_yield", 471}, {ARM64, "read", 63}, {ARM64, "openat", 56}, {ARM64, "newfstatat", 79},
	} {
		if nr, ok := Nr(c.arch, c.name); !ok || nr != c.nr {
			t.Errorf("%s: Nr(%s) = %d, %v, want %d", c.arch, c.name, nr, ok, c.nr)
		}
		if name, ok := Name(c.arch, c.nr); !ok || name != c.name {
			t.Errorf("%s: Name(%d) = %s, %v, want %s", c.arch, c.nr, name, ok, c.name)
		}
	}
	if name, ok := Name(AMD64, 400); ok {
		t.Errorf("number 400 is called %s", name)
	}
	if nr, ok := Nr(ARM64, "open"); ok {
		t.Errorf("arm64 has open, number %d", nr)
	}
	if Table(I386) != nil || Table(ARM) != nil {
		t.Error("a 32-bit interface has a table")
	}
}

func TestEveryCallIsDescribed(t *testing.T) {
	for _, name := range Names() {
		if !Described(name) {
			t.Errorf("%s: no argument kinds", name)
		}
		if n := len(Args(name)); n > 6 {
			t.Errorf("%s: %d arguments", name, n)
		}
	}
	seen := make(map[string]string)
	for _, s := range signatures {
		for _, k := range []Kind(s.kinds) {
			if k.String() == "invalid" {
				t.Errorf("signature %q: kind %q is none", s.kinds, k)
			}
		}
		for _, name := range strings.Fields(s.names) {
			if prev, twice := seen[name]; twice {
				t.Errorf("%s is described as %q and %q", name, prev, s.kinds)
			}
			seen[name] = s.kinds
			if !slices.Contains(Names(), name) {
				t.Errorf("%s is described but no architecture has it", name)
			}
		}
	}
}

// TestNothingIsMissing compares the tables with x/sys and with this machine's
// kernel headers: a number that exists and is not in the table would be
// refused without anyone having decided so.
func TestNothingIsMissing(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatalf("find golang.org/x/sys: %v", err)
	}
	xsys := filepath.Join(strings.TrimSpace(string(dir)), "unix")
	goConst := `(?m)^\s*SYS_(\w+)\s*=\s*(\d+)`
	compare(t, AMD64, filepath.Join(xsys, "zsysnum_linux_amd64.go"), goConst)
	compare(t, ARM64, filepath.Join(xsys, "zsysnum_linux_arm64.go"), goConst)

	if runtime.GOARCH == "amd64" {
		compareIfThere(t, AMD64, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", `(?m)^#define __NR_(\w+)\s+(\d+)\s*$`)
	}
	// The generic header is ARM64's; __NR3264 are numbers that 64-bit machines
	// give the plain name of.
	compareIfThere(t, ARM64, "/usr/include/asm-generic/unistd.h", `(?m)^#define __NR(?:3264)?_(\w+)\s+(\d+)\s*$`)
}

func compareIfThere(t *testing.T, a Arch, file, pattern string) {
	t.Helper()
	if _, err := os.Stat(file); err != nil {
		t.Logf("no kernel headers: %v", err)
		return
	}
	compare(t, a, file, pattern)
}

func compare(t *testing.T, a Arch, file, pattern string) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(src), -1) {
		name := strings.ToLower(m[1])
		nr, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		if name == "syscalls" || name == "arch_specific_syscall" || only32(name) {
			continue
		}
		found++
		if _, ok := Name(a, nr); !ok {
			t.Errorf("%s: %s has %s = %d; run go generate ./internal/sysno and give it a row", a, file, name, nr)
		}
	}
	if found < 300 {
		t.Errorf("%s: only %d calls found in %s", a, found, file)
	}
}

// only32 reports whether the call exists on 32-bit machines only: the ones that
// carry a 64-bit time.
func only32(name string) bool {
	return strings.HasSuffix(name, "_time64") || slices.Contains([]string{
		"clock_gettime64", "clock_settime64", "clock_adjtime64", "timer_gettime64", "timer_settime64",
		"timerfd_gettime64", "timerfd_settime64",
	}, name)
}
