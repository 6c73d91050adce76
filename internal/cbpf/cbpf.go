// Package cbpf assembles and interprets seccomp filters: classic BPF over
// struct seccomp_data, with labels, jumps of any length, and the kernel's own
// checks.
package cbpf

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Instruction is one classic BPF instruction.
type Instruction = unix.SockFilter

// MaxInstructions is the longest program the kernel takes.
const MaxInstructions = 4096

// The operation codes of a seccomp filter that this package makes. The kernel
// knows more; [Check] knows no more than these.
const (
	opLoad = 0x20 // ld [k]: a 32-bit word of seccomp_data
	opAnd  = 0x54 // and #k
	opJump = 0x05 // ja
	opJEQ  = 0x15 // jeq #k
	opJGT  = 0x25 // jgt #k
	opJGE  = 0x35 // jge #k
	opJSet = 0x45 // jset #k
	opRet  = 0x06 // ret #k
)

// Data is struct seccomp_data: what a filter may look at.
type Data struct {
	Nr   uint32
	Arch uint32
	IP   uint64
	Args [6]uint64
}

// Offsets into seccomp_data for [Builder.Load].
const (
	OffNr   = 0
	OffArch = 4
	offArgs = 16
	dataLen = 64
)

// OffLow is the offset of the low 32 bits of argument i. Both architectures
// that have tables are little-endian.
func OffLow(i int) uint32 { return uint32(offArgs + 8*i) }

// OffHigh is the offset of the high 32 bits of argument i.
func OffHigh(i int) uint32 { return OffLow(i) + 4 }

// word returns the word at byte offset off.
func (d *Data) word(off uint32) uint32 {
	switch {
	case off == OffNr:
		return d.Nr
	case off == OffArch:
		return d.Arch
	}
	v := d.IP
	if off >= offArgs {
		v = d.Args[(off-offArgs)/8]
	}
	if off%8 == 4 {
		v >>= 32
	}
	return uint32(v)
}

// ErrInvalid is what [Check] finds wrong with a program.
var ErrInvalid = errors.New("invalid filter")

// Check applies the kernel's rules: at most [MaxInstructions], known
// operations, aligned loads inside seccomp_data, jumps forward and inside the
// program, and no way to run off the end.
func Check(prog []Instruction) error {
	n := len(prog)
	if n == 0 || n > MaxInstructions {
		return fmt.Errorf("%w: %d instructions, at most %d are possible", ErrInvalid, n, MaxInstructions)
	}
	for i, in := range prog {
		left := uint64(n - i - 1) // instructions after this one
		ok := false
		switch in.Code {
		case opLoad:
			ok = in.K%4 == 0 && in.K < dataLen
		case opAnd, opRet:
			ok = true
		case opJump:
			ok = uint64(in.K) < left
		case opJEQ, opJGT, opJGE, opJSet:
			ok = uint64(in.Jt) < left && uint64(in.Jf) < left
		}
		if !ok {
			return fmt.Errorf("%w: instruction %d: %+v", ErrInvalid, i, in)
		}
	}
	if prog[n-1].Code != opRet {
		return fmt.Errorf("%w: the last instruction is no return", ErrInvalid)
	}
	return nil
}

// Result is what a run of a filter did.
type Result struct {
	Value uint32 // the SECCOMP_RET_ value
	Steps int    // instructions executed
	// Const says that the run looked at nothing but the number and the
	// architecture. The kernel then decides the number once, when the filter is
	// installed, and never runs the filter for it if the answer is "allow".
	Const bool
}

// Run interprets prog, which must pass [Check], on d.
func Run(prog []Instruction, d Data) Result {
	var a uint32
	r := Result{Const: true}
	for pc := 0; ; pc++ {
		in := &prog[pc]
		r.Steps++
		jump := false
		switch in.Code {
		case opLoad:
			a = d.word(in.K)
			r.Const = r.Const && in.K <= OffArch
			continue
		case opAnd:
			a &= in.K
			continue
		case opRet:
			r.Value = in.K
			return r
		case opJump:
			pc += int(in.K)
			continue
		case opJEQ:
			jump = a == in.K
		case opJGT:
			jump = a > in.K
		case opJGE:
			jump = a >= in.K
		case opJSet:
			jump = a&in.K != 0
		}
		if jump {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
}

// Bytes returns a program as the kernel has it in memory.
func Bytes(prog []Instruction) []byte {
	out := make([]byte, 0, 8*len(prog))
	for _, in := range prog {
		out = binary.NativeEndian.AppendUint16(out, in.Code)
		out = append(out, in.Jt, in.Jf)
		out = binary.NativeEndian.AppendUint32(out, in.K)
	}
	return out
}
