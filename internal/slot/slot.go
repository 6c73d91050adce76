// Package slot compiles seccomp filters of what Capsicum refuses by registers
// alone: calls on a descriptor number that lacks their right, calls that
// capability mode does not permit, and, where no supervisor can be asked, the
// calls whose arguments in memory would have to be judged.
//
// Filters stack: each limit adds one, and none is ever taken away. Among
// refusals the newest filter's is the answer. The kernel takes 32768
// instructions in one stack, so every instruction here is paid for by each
// limited descriptor.
//
// The filters are also the record of what is limited, which fork and exec
// inherit: they answer questions, made as system calls with the number
// [request.Number].
package slot

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// The questions that filters answer: argument 0 of the call. The kernel has no such
// call and says ENOSYS, which as an answer means that no filter restricts what was
// asked about.
const (
	// OpHas (fd, index of [Index]) is answered ENOTCAPABLE by a filter of fd whose
	// caps lack the right.
	OpHas = 1 + iota
	// OpHasFcntl (fd, command) is answered ENOTCAPABLE if the mask lacks command.
	OpHasFcntl
	// OpHasIoctl (fd, command) is answered ENOTCAPABLE if fd has a list of commands
	// and command is not in it.
	OpHasIoctl
	// OpMode is answered ECAPMODE in capability mode.
	OpMode
	// OpStatic is answered ENOTCAPABLE once a filter with [Options.First] is there.
	OpStatic
	// OpPoll is answered ENOTCAPABLE once a filter refuses poll and select.
	OpPoll
)

// The indexes of OpHas beside those of rights.
const (
	// IndexAnyIoctl is lacking where a list of ioctl commands decides.
	IndexAnyIoctl = 2*RightBits + iota
	// IndexNoIoctl is lacking where no command is permitted.
	IndexNoIoctl
	// IndexReadOnly is lacking where a filter takes the open file for writable.
	IndexReadOnly
)

// RightBits is how many bits of a word of a set are rights.
const RightBits = 57

// Index returns the stable number of a right that is a single bit of a set.
func Index(word, bit int) int { return word*RightBits + bit }

// Options says what a descriptor's filter is compiled for.
type Options struct {
	// CapabilityMode leaves out what capability mode refuses, so that its answer,
	// from an older filter, is the one. With Only, the answer is the same and is here.
	CapabilityMode bool
	// ReadOnly says that the open file is not open for writing. The kernel then
	// keeps its shared mappings from being made writable with mprotect; else a
	// shared mapping needs mmap_w from the start. It also says which way vmsplice
	// goes.
	ReadOnly bool
	// Mprotect says that someone judges mprotect. Else every mapping needs mmap_r:
	// any can be made readable later, and no filter sees of what it is.
	Mprotect bool
	// Static says that nobody can be asked: refused are also copies of the
	// descriptor, and lookups in it.
	Static bool
	// First says that no earlier filter is there to refuse the calls of foreign
	// architectures; with Static refused is also what reaches any descriptor through
	// memory.
	First bool
	// Poll says, with Static, that no earlier filter refuses poll and select.
	Poll bool
	// Only names the calls that are to be refused, because others are asked about;
	// questions are not answered then. Nil: all of them.
	Only []string
	// Had is what an earlier filter for the same number and options permits; what
	// it refuses is left out.
	Had *Had
}

// Had is what an earlier filter was compiled for.
type Had struct {
	Caps     filecaps.Caps
	ReadOnly bool
}

// Descriptor compiles the filter that limits descriptor number fd to c.
func Descriptor(arch sysno.Arch, fd int, c filecaps.Caps, o Options) ([]cbpf.Instruction, error) {
	if fd < 0 || fd > maxFD {
		return nil, fmt.Errorf("compile filter for descriptor %d: %w", fd, unix.EBADF)
	}
	p := program{arch: arch, calls: make(map[string][]clause)}
	p.guarded = !o.First
	p.foreign = filecaps.ENOTCAPABLE
	if o.CapabilityMode {
		p.guarded = true
	}
	for _, r := range table() {
		if o.Only == nil && o.CapabilityMode && refusedInMode(r.name) || o.Only != nil && !slices.Contains(o.Only, r.name) {
			continue
		}
		if cl := r.clauses(fd, c, o); len(cl) > 0 {
			p.calls[r.name] = append(leftToMode(r.name, o), cl...)
		}
	}
	if o.Static {
		p.unseen(fd, c, o)
	}
	if o.Only == nil {
		p.questions = questions(fd, c, o)
	}
	prog, err := p.compile()
	if err != nil {
		return nil, fmt.Errorf("compile filter for descriptor %d: %w", fd, err)
	}
	return prog, nil
}

// maxFD is the greatest number the kernel lets a descriptor have.
const maxFD = 1<<31 - 1

// CapabilityMode compiles the filter of capability mode. What it can't decide by
// registers passes it: names beneath a descriptor, programs, and processes by
// number.
func CapabilityMode(arch sysno.Arch) ([]cbpf.Instruction, error) { return mode(arch, false, 0) }

// StaticMode compiles the filter of capability mode where nobody can be asked:
// what [CapabilityMode] leaves to others is refused, but for the signal that a Go
// runtime sends to its process, pid.
func StaticMode(arch sysno.Arch, pid int) ([]cbpf.Instruction, error) { return mode(arch, true, pid) }

// questions returns the answers that a descriptor's filter gives, but for those
// that an earlier one gives.
func questions(fd int, c filecaps.Caps, o Options) []clause {
	before := filecaps.Full()
	readOnly := true
	if o.Had != nil {
		before, readOnly = o.Had.Caps, o.Had.ReadOnly
	}
	about := is(1, uint64(fd))
	var out []clause
	add := func(op uint64, tests ...test) {
		out = append(out, clause{append([]test{about, is(0, op)}, tests...), filecaps.ENOTCAPABLE})
	}
	had := lackingIndexes(before, readOnly)
	lacking := slices.DeleteFunc(lackingIndexes(c, o.ReadOnly), func(i uint64) bool { return slices.Contains(had, i) })
	if len(lacking) > 0 {
		add(OpHas, test{arg: 2, op: in, values: lacking})
	}
	if c.Fcntls == 0 && before.Fcntls != 0 {
		add(OpHasFcntl)
	} else if c.Fcntls != before.Fcntls {
		add(OpHasFcntl, test{arg: 2, op: notIn, values: maskCommands(c.Fcntls)})
	}
	if tests := refusedControls(c); tests != nil && !sameTests(tests, refusedControls(before)) {
		for i := range tests {
			tests[i].arg = 2
		}
		add(OpHasIoctl, tests...)
	}
	if o.Static && o.First {
		out = append(out, notcapable(is(0, OpStatic)))
	}
	if o.Static && o.Poll && !c.Rights.IsSet(rights.Event) {
		out = append(out, notcapable(is(0, OpPoll)))
	}
	return out
}

// lackingIndexes returns what OpHas is refused for. Bits that no right has go
// with their neighbours: fewer runs make a smaller filter.
func lackingIndexes(c filecaps.Caps, readOnly bool) []uint64 {
	var out []uint64
	have, all := c.Rights.Words(), rights.All().Words()
	for word := range have {
		for bit := range RightBits {
			i := uint64(Index(word, bit))
			unused := all[word]&(1<<bit) == 0
			follows := len(out) > 0 && out[len(out)-1] == i-1
			if have[word]&(1<<bit) == 0 && (!unused || follows) {
				out = append(out, i)
			}
		}
	}
	if c.Listed {
		out = append(out, IndexAnyIoctl)
		if len(c.Ioctls) == 0 {
			out = append(out, IndexNoIoctl)
		}
	}
	if !readOnly {
		out = append(out, IndexReadOnly)
	}
	return out
}

func maskCommands(m rights.Fcntls) []uint64 {
	var out []uint64
	for cmd := range 32 {
		if m&(1<<cmd) != 0 {
			out = append(out, uint64(cmd))
		}
	}
	return out
}

func widen(list []uint32) []uint64 {
	out := make([]uint64, len(list))
	for i, v := range list {
		out[i] = uint64(v)
	}
	return out
}
