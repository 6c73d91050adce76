package slot

import (
	"slices"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// Template is the filter of [Descriptor] for any number: compiling takes as long as
// the kernel takes to install what was compiled.
type Template struct {
	prog []cbpf.Instruction
	at   []int // the instructions that have the number
}

// NewTemplate compiles the filters that limit a descriptor to c.
func NewTemplate(arch sysno.Arch, c filecaps.Caps, o Options) (*Template, error) {
	prog, err := Descriptor(arch, maxFD, c, o) // a number that no instruction has for another reason
	if err != nil {
		return nil, err
	}
	t := &Template{prog: prog}
	for i, in := range prog {
		if in.K == maxFD {
			t.at = append(t.at, i)
		}
	}
	return t, nil
}

// For returns the filter for descriptor number fd.
func (t *Template) For(fd int) []cbpf.Instruction {
	prog := slices.Clone(t.prog)
	for _, i := range t.at {
		prog[i].K = uint32(fd)
	}
	return prog
}
