package cbpf

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Label is a place in a program that jumps can name before it is known where
// it will be.
type Label int

// Next is the instruction that follows.
const Next Label = -1

// Builder collects a program. Mistakes are reported by [Builder.Assemble].
type Builder struct {
	items  []item
	places []int // label → index into items, or unbound
}

const unbound = -1

// item is an instruction whose jumps are still labels.
type item struct {
	in   Instruction
	t, f Label // conditional jumps; opJump uses t
}

// conditional reports whether it is a jump that looks at the accumulator.
func (it *item) conditional() bool {
	switch it.in.Code {
	case opJEQ, opJGT, opJGE, opJSet:
		return true
	}
	return false
}

// Label returns a new label; it must be bound once.
func (b *Builder) Label() Label {
	b.places = append(b.places, unbound)
	return Label(len(b.places) - 1)
}

// Bind puts l at the next instruction.
func (b *Builder) Bind(l Label) { b.places[l] = len(b.items) }

// Load puts the word at offset off of seccomp_data into the accumulator.
func (b *Builder) Load(off uint32) { b.add(opLoad, off, Next, Next) }

// And masks the accumulator.
func (b *Builder) And(mask uint32) { b.add(opAnd, mask, Next, Next) }

// Ret ends the filter with v.
func (b *Builder) Ret(v uint32) { b.add(opRet, v, Next, Next) }

// Jump goes to l.
func (b *Builder) Jump(l Label) { b.add(opJump, 0, l, Next) }

// JumpEqual goes to t if the accumulator is k, to f otherwise.
func (b *Builder) JumpEqual(k uint32, t, f Label) { b.add(opJEQ, k, t, f) }

// JumpAbove goes to t if the accumulator is greater than k, to f otherwise.
func (b *Builder) JumpAbove(k uint32, t, f Label) { b.add(opJGT, k, t, f) }

// JumpAtLeast goes to t if the accumulator is k or more, to f otherwise.
func (b *Builder) JumpAtLeast(k uint32, t, f Label) { b.add(opJGE, k, t, f) }

// JumpAny goes to t if the accumulator has any bit of k, to f otherwise.
func (b *Builder) JumpAny(k uint32, t, f Label) { b.add(opJSet, k, t, f) }

func (b *Builder) add(code uint16, k uint32, t, f Label) {
	b.items = append(b.items, item{in: Instruction{Code: code, K: k}, t: t, f: f})
}

// Range is a run of system call numbers that share one block of code.
type Range struct {
	Low, High uint32
	To        Label
}

// Dispatch jumps to the block of the range that holds the accumulator, or to
// other. The search halves the ranges, so that it takes about the logarithm of
// their number in steps. Ranges must not overlap.
func (b *Builder) Dispatch(ranges []Range, other Label) error {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(x, y Range) int { return cmp.Compare(x.Low, y.Low) })
	// Every number belongs to one part once the holes are parts too.
	parts := []Range{}
	next := uint64(0)
	for _, r := range ranges {
		if uint64(r.Low) < next || r.High < r.Low {
			return fmt.Errorf("%w: range %d to %d overlaps another", ErrInvalid, r.Low, r.High)
		}
		if uint64(r.Low) > next {
			parts = append(parts, Range{uint32(next), r.Low - 1, other})
		}
		parts = append(parts, r)
		next = uint64(r.High) + 1
	}
	if next <= math.MaxUint32 {
		parts = append(parts, Range{uint32(next), math.MaxUint32, other})
	}
	b.search(parts)
	return nil
}

// search finds the part that holds the accumulator.
func (b *Builder) search(parts []Range) {
	if len(parts) == 1 {
		b.Jump(parts[0].To)
		return
	}
	mid := len(parts) / 2
	low, high := parts[:mid], parts[mid:]
	lowTo, highTo := Next, b.Label()
	if len(low) == 1 {
		lowTo = low[0].To
	}
	target := highTo
	if len(high) == 1 {
		target = high[0].To
	}
	b.JumpAtLeast(parts[mid].Low, target, lowTo)
	if lowTo == Next {
		b.search(low)
	}
	b.Bind(highTo)
	if len(high) > 1 {
		b.search(high)
	}
}

// Assemble resolves the labels. A conditional jump reaches 255 instructions
// far; one that must go further is turned into a short jump over an
// unconditional one, which reaches anywhere. Doing so moves what follows, and
// can put other jumps out of reach, so it is repeated until nothing changes.
func (b *Builder) Assemble() ([]Instruction, error) {
	for l, place := range b.places {
		if place == unbound {
			return nil, fmt.Errorf("%w: label %d is not bound", ErrInvalid, l)
		}
	}
	long := make([][2]bool, len(b.items)) // for which targets an unconditional jump is needed
	for {
		at, total := b.layout(long)
		if total > MaxInstructions {
			return nil, fmt.Errorf("%w: %d instructions, at most %d are possible", ErrInvalid, total, MaxInstructions)
		}
		changed := false
		for i := range b.items {
			it := &b.items[i]
			if !it.conditional() {
				continue
			}
			for side, l := range []Label{it.t, it.f} {
				if !long[i][side] && b.target(l, i, at) > at[i]+1+math.MaxUint8 {
					long[i][side], changed = true, true
				}
			}
		}
		if !changed {
			return b.emit(long, at, total)
		}
	}
}

// layout returns the address of every item and, as the last element, the end.
func (b *Builder) layout(long [][2]bool) (at []int, total int) {
	at = make([]int, len(b.items)+1)
	for i := range b.items {
		at[i] = total
		total++
		for _, l := range long[i] {
			if l {
				total++
			}
		}
	}
	at[len(b.items)] = total
	return at, total
}

// target returns the address that l means in item i.
func (b *Builder) target(l Label, i int, at []int) int {
	if l == Next {
		return at[i+1]
	}
	return at[b.places[l]]
}

// emit writes the instructions.
func (b *Builder) emit(long [][2]bool, at []int, total int) ([]Instruction, error) {
	out := make([]Instruction, 0, total)
	for i := range b.items {
		it := &b.items[i]
		in := it.in
		switch {
		case in.Code == opJump:
			dist := b.target(it.t, i, at) - at[i] - 1
			if dist < 0 {
				return nil, fmt.Errorf("%w: instruction %d jumps back", ErrInvalid, at[i])
			}
			in.K = uint32(dist)
			out = append(out, in)
		case it.conditional():
			var err error
			if out, err = b.emitConditional(out, i, long[i], at); err != nil {
				return nil, err
			}
		default:
			out = append(out, in)
		}
	}
	if err := Check(out); err != nil {
		return nil, err
	}
	return out, nil
}

// emitConditional writes item i and the unconditional jumps that it needs.
func (b *Builder) emitConditional(out []Instruction, i int, long [2]bool, at []int) ([]Instruction, error) {
	in := b.items[i].in
	var far []Instruction
	for side, l := range []Label{b.items[i].t, b.items[i].f} {
		dist := b.target(l, i, at) - at[i] - 1
		if dist < 0 {
			return nil, fmt.Errorf("%w: instruction %d jumps back", ErrInvalid, at[i])
		}
		if long[side] {
			jump := len(far) // its distance from in
			far = append(far, Instruction{Code: opJump, K: uint32(dist - jump - 1)})
			dist = jump
		}
		if side == 0 {
			in.Jt = uint8(dist)
		} else {
			in.Jf = uint8(dist)
		}
	}
	return append(append(out, in), far...), nil
}
