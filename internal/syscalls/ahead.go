package syscalls

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// Ahead returns the options whose filters are in the executable, because nearly
// every run has one of them: the table and the compiler, both used once, would
// take 0.3 ms of each start.
func Ahead() []Options {
	kernels := [...]Options{
		{PtraceScope: true, SignalScope: true, AbstractScope: true}, // Landlock from version 6
		{PtraceScope: true, SignalScope: true, AbstractScope: true, UnixScope: true},
		{PtraceScope: true},
		{},
	}
	// What some grant lacks when directories are granted, and what files that are
	// granted one by one lack beside.
	directories := rights.Of(rights.Flock, rights.Bindat, rights.Connectat)
	files := rights.Of(rights.Flock, rights.Bindat, rights.Connectat, rights.ExtattrGet, rights.ExtattrList, rights.InotifyAdd)
	out := make([]Options, 0, 32)
	out = append(out, Options{Mode: Attached})
	for _, o := range kernels {
		o.Engine, o.Flock = policy.EngineNamespaces, true
		for _, o.Lacking = range [...]rights.Set{directories, files} {
			for _, o.Net = range [...]bool{false, true} {
				out = append(out, o)
			}
		}
	}
	return out
}

// CompileAhead compiles the filters of [Ahead] for one architecture: each is its
// number of instructions, in two bytes, and they.
func CompileAhead(arch sysno.Arch) ([]byte, error) {
	var out bytes.Buffer
	for _, o := range Ahead() {
		prog, err := generate(arch, o)
		if err != nil {
			return nil, err
		}
		for _, v := range []any{uint16(len(prog)), prog} {
			if err := binary.Write(&out, binary.LittleEndian, v); err != nil {
				return nil, fmt.Errorf("write filter for %s: %w", arch, err)
			}
		}
	}
	return out.Bytes(), nil
}

// ahead returns the filter that was compiled for o, nil if none was.
func ahead(arch sysno.Arch, o Options) []cbpf.Instruction {
	i := slices.Index(Ahead(), o)
	if arch != sysno.Native || i < 0 {
		return nil
	}
	from := compiledAhead
	for ; i > 0; i-- {
		from = from[2+8*length(from):]
	}
	prog := make([]cbpf.Instruction, length(from))
	for i := range prog {
		in := from[2+8*i:]
		prog[i] = cbpf.Instruction{
			Code: binary.LittleEndian.Uint16(in), Jt: in[2], Jf: in[3], K: binary.LittleEndian.Uint32(in[4:]),
		}
	}
	return prog
}

// length returns the number of instructions of the filter that b begins with.
func length(b []byte) int { return int(binary.LittleEndian.Uint16(b)) }
