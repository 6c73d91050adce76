package capmode

import (
	"bytes"
	"debug/elf"
)

// static reports whether head, the beginning of a file, is an ELF program without
// a loader. One whose headers are further on is taken for one with.
func static(head []byte) bool {
	f, err := elf.NewFile(bytes.NewReader(padded(head)))
	if err != nil {
		return false
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return len(f.Progs) > 0
}

// padded makes the section headers, which lie behind, look absent: only the
// program headers matter to the kernel.
func padded(head []byte) []byte {
	const shoff, shnum, shstrndx = 0x28, 0x3c, 0x3e // of a 64-bit header
	out := bytes.Clone(head)
	if len(out) > shstrndx+2 {
		clear(out[shoff : shoff+8])
		clear(out[shnum : shnum+2])
		clear(out[shstrndx : shstrndx+2])
	}
	return out
}
