// Package sysno knows the system call numbers of Linux: for each architecture
// the complete list up to the newest kernel headers, and for each call what
// its argument registers mean.
package sysno

import (
	"cmp"
	"slices"
	"sync"
)

//go:generate go run ./gen

// Arch is a system call interface, named by the AUDIT_ARCH value that a seccomp
// filter sees. The kernel has several on one machine: a 64-bit processor also
// takes the 32-bit calls, which have numbers of their own.
type Arch uint32

// The architectures the tables exist for.
const (
	AMD64 Arch = 0xC000003E
	ARM64 Arch = 0xC00000B7
)

// The 32-bit interfaces of the same machines. They have no table: every number
// of theirs is refused.
const (
	I386 Arch = 0x40000003
	ARM  Arch = 0x40000028
)

// X32Bit marks the x32 interface, which shares AMD64's AUDIT_ARCH and differs
// in this bit of the number only.
const X32Bit = 0x40000000

// Arches lists the architectures with a table.
func Arches() []Arch { return []Arch{AMD64, ARM64} }

// String returns the name Go uses for a.
func (a Arch) String() string {
	switch a {
	case AMD64:
		return "amd64"
	case ARM64:
		return "arm64"
	case I386:
		return "386"
	case ARM:
		return "arm"
	}
	return "unknown"
}

// Entry is one system call of one architecture.
type Entry struct {
	Name string // as the kernel's own table has it
	Nr   int
}

// Table returns the system calls of a, sorted by number; nil for an
// architecture without a table. The caller must not change it.
func Table(a Arch) []Entry {
	switch a {
	case AMD64:
		return amd64Calls
	case ARM64:
		return arm64Calls
	}
	return nil
}

// Name returns the name of number nr.
func Name(a Arch, nr int) (string, bool) {
	t := Table(a)
	i, ok := slices.BinarySearchFunc(t, nr, func(e Entry, nr int) int { return cmp.Compare(e.Nr, nr) })
	if !ok {
		return "", false
	}
	return t[i].Name, true
}

// Nr returns the number of the call called name.
func Nr(a Arch, name string) (int, bool) {
	nr, ok := byName()[a][name]
	return nr, ok
}

// byName is made when it is first needed: most starts of the program look up no
// name.
var byName = sync.OnceValue(func() map[Arch]map[string]int {
	out := make(map[Arch]map[string]int)
	for _, a := range Arches() {
		m := make(map[string]int, len(Table(a)))
		for _, e := range Table(a) {
			m[e.Name] = e.Nr
		}
		out[a] = m
	}
	return out
})

// Names returns every call name that any architecture has, sorted.
func Names() []string {
	var out []string
	for _, a := range Arches() {
		for _, e := range Table(a) {
			out = append(out, e.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
