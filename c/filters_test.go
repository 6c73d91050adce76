package c

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/slot"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// filter is one filter to compile.
type filter struct {
	fd   int
	caps filecaps.Caps
	slot.Options
}

func randomCaps(r *rand.Rand, from filecaps.Caps) filecaps.Caps {
	words := from.Rights.Words()
	none := rights.Set{}.Words()
	switch r.IntN(4) {
	case 0: // one right is missing, or only one is there
		bit := uint64(1) << r.IntN(50)
		words[r.IntN(2)] &^= bit
	case 1:
		for i := range words {
			words[i] &= none[i] | r.Uint64()&r.Uint64()
		}
	case 2:
		for i := range words {
			words[i] &= none[i] | r.Uint64() | r.Uint64() | r.Uint64()
		}
	}
	set, err := rights.FromWords(words[:])
	if err != nil {
		panic(err)
	}
	from.Rights = set
	from.Fcntls &= rights.Fcntls(r.Uint32() | r.Uint32())
	if r.IntN(3) == 0 {
		from.Listed, from.Ioctls = true, nil
		high := r.IntN(2) == 0 // most commands have a bit at one end or both
		for range []int{0, 1, 3, 40, 256}[r.IntN(5)] {
			cmd := r.Uint32N(0x9000)
			if high {
				cmd = -r.Uint32N(0x180)
			}
			from.Ioctls = append(from.Ioctls, cmd)
		}
	}
	return from
}

func randomFilter(r *rand.Rand) filter {
	f := filter{fd: []int{0, 1, 2, 3, 77, 1 << 20, 1<<31 - 1}[r.IntN(7)]}
	flip := func() bool { return r.IntN(2) == 0 }
	f.Options = slot.Options{Static: true, CapabilityMode: flip(), ReadOnly: flip(), First: flip(), Poll: flip()}
	before := filecaps.Full()
	if flip() {
		before = randomCaps(r, before)
		f.Had = &slot.Had{Caps: before, ReadOnly: flip()}
	}
	f.caps = randomCaps(r, before)
	return f
}

func writeCaps(b *strings.Builder, c filecaps.Caps) {
	w := c.Rights.Words()
	fmt.Fprintf(b, " %x %x %x %x %x", w[0], w[1], uint32(c.Fcntls), one(c.Listed), len(c.Ioctls))
	for _, cmd := range c.Ioctls {
		fmt.Fprintf(b, " %x", cmd)
	}
}

func one(v bool) int {
	if v {
		return 1
	}
	return 0
}

func (f filter) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%x %x %x %x %x", f.fd, one(f.CapabilityMode), one(f.ReadOnly), one(f.First), one(f.Poll))
	writeCaps(&b, f.caps)
	fmt.Fprintf(&b, " %x", one(f.Had != nil))
	if f.Had != nil {
		fmt.Fprintf(&b, " %x", one(f.Had.ReadOnly))
		writeCaps(&b, f.Had.Caps)
	}
	return b.String() + "\n"
}

func text(prog []cbpf.Instruction) string {
	var b strings.Builder
	fmt.Fprint(&b, len(prog))
	for _, in := range prog {
		fmt.Fprintf(&b, " %x,%x,%x,%x", in.Code, in.Jt, in.Jf, in.K)
	}
	return b.String()
}

// TestFilters compares the static filters of C and Go, instruction by instruction: of
// this machine, and of the other architecture, whose program an emulator runs.
func TestFilters(t *testing.T) {
	for _, m := range []struct {
		name, cc, flags string
		emulator        []string
		arch            sysno.Arch
	}{
		{"sanitized", "gcc", sanitized, nil, sysno.Native},
		{"arm64", "aarch64-linux-gnu-gcc", "-O2", []string{"qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"}, sysno.ARM64},
	} {
		t.Run(m.name, func(t *testing.T) {
			lib := library(t, m.name, m.cc, m.flags)
			path := filepath.Join(built, "filters-"+m.name)
			args := append(strings.Fields(m.flags), "-std=c11", "-Wall", "-Wextra", "-Werror", "-Iinclude", "tests/filters.c",
				filepath.Join(lib, "libcapsicum.a"), "-o", path)
			command(t, nil, m.cc, args...)
			compareFilters(t, append(m.emulator, path), m.arch)
		})
	}
}

func compareFilters(t *testing.T, argv []string, arch sysno.Arch) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	all := []filter{
		{fd: 5, caps: filecaps.Caps{}, Options: slot.Options{Static: true, First: true, Poll: true}},
		{fd: 5, caps: filecaps.Full(), Options: slot.Options{Static: true}},
	}
	for range 1500 {
		all = append(all, randomFilter(r))
	}
	var in strings.Builder
	for _, f := range all {
		in.WriteString(f.line())
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	lines.Buffer(nil, 1<<20)
	for _, f := range all {
		want, err := slot.Descriptor(arch, f.fd, f.caps, f.Options)
		if err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatalf("the program ended early: %v", lines.Err())
		}
		if got := lines.Text(); got != text(want) {
			t.Fatalf("case %s\n got %s\nwant %s", f.line(), got, text(want))
		}
	}
}
