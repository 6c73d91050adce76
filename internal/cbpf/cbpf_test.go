package cbpf

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"golang.org/x/net/bpf"
	"pgregory.net/rapid"
)

// packet lays d out for x/net/bpf, which reads words as big-endian: every
// 32-bit word stands where seccomp_data of a little-endian machine has it.
func packet(d Data) []byte {
	out := make([]byte, 0, dataLen)
	for off := uint32(0); off < dataLen; off += 4 {
		out = binary.BigEndian.AppendUint32(out, d.word(off))
	}
	return out
}

// reference runs prog on the virtual machine of x/net/bpf.
func reference(t rapid.TB, prog []Instruction, d Data) uint32 {
	list := make([]bpf.Instruction, len(prog))
	for i, in := range prog {
		list[i] = bpf.RawInstruction{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}.Disassemble()
	}
	vm, err := bpf.NewVM(list)
	if err != nil {
		t.Fatalf("x/net/bpf refuses a program that Check accepts: %v", err)
	}
	v, err := vm.Run(packet(d))
	if err != nil {
		t.Fatal(err)
	}
	return uint32(v)
}

func TestDataLayout(t *testing.T) {
	d := Data{Nr: 1, Arch: 2, IP: 4<<32 | 3, Args: [6]uint64{6<<32 | 5, 8<<32 | 7, 10<<32 | 9, 12<<32 | 11, 14<<32 | 13, 16<<32 | 15}}
	for off := uint32(0); off < dataLen; off += 4 {
		if got, want := d.word(off), off/4+1; got != want {
			t.Errorf("word at %d is %d, want %d", off, got, want)
		}
	}
	if OffLow(5) != 56 || OffHigh(5) != 60 || OffLow(0) != 16 {
		t.Errorf("offsets: low(0)=%d low(5)=%d high(5)=%d", OffLow(0), OffLow(5), OffHigh(5))
	}
}

// interesting are words near which comparisons change their mind.
func interesting(t *rapid.T, label string) uint32 {
	return rapid.OneOf(
		rapid.Uint32Range(0, 40),
		rapid.SampledFrom([]uint32{1<<31 - 1, 1 << 31, 1<<31 + 1, math.MaxUint32, 0x40000000}),
		rapid.Uint32(),
	).Draw(t, label)
}

func drawData(t *rapid.T) Data {
	d := Data{Nr: interesting(t, "nr"), Arch: interesting(t, "arch"), IP: rapid.Uint64().Draw(t, "ip")}
	for i := range d.Args {
		d.Args[i] = uint64(interesting(t, "high"))<<32 | uint64(interesting(t, "low"))
	}
	return d
}

// TestAgainstReference compares the interpreter with x/net/bpf on programs that
// Check accepts.
func TestAgainstReference(t *testing.T) {
	codes := []uint16{opLoad, opAnd, opJump, opJEQ, opJGT, opJGE, opJSet, opRet}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		prog := make([]Instruction, n)
		for i := range prog {
			left := n - i - 1
			in := Instruction{Code: rapid.SampledFrom(codes).Draw(t, "code"), K: interesting(t, "k")}
			if left == 0 {
				in.Code = opRet
			}
			switch in.Code {
			case opLoad:
				in.K = in.K % (dataLen / 4) * 4
			case opJump:
				in.K = uint32(rapid.IntRange(0, left-1).Draw(t, "to"))
			case opJEQ, opJGT, opJGE, opJSet:
				in.Jt = uint8(rapid.IntRange(0, left-1).Draw(t, "jt"))
				in.Jf = uint8(rapid.IntRange(0, left-1).Draw(t, "jf"))
			}
			prog[i] = in
		}
		if err := Check(prog); err != nil {
			t.Fatal(err)
		}
		d := drawData(t)
		if got, want := Run(prog, d).Value, reference(t, prog, d); got != want {
			t.Fatalf("got %#x, x/net/bpf says %#x", got, want)
		}
	})
}

// TestManyRules is a filter of 600 rules whose jumps go far beyond the 255
// instructions that a conditional jump reaches.
func TestManyRules(t *testing.T) {
	const rules = 600
	var b Builder
	other := b.Label()
	var ranges []Range
	labels := make([]Label, rules)
	for i := range rules {
		labels[i] = b.Label()
		ranges = append(ranges, Range{uint32(3 * i), uint32(3*i + i%2), labels[i]})
	}
	b.Load(OffNr)
	if err := b.Dispatch(ranges, other); err != nil {
		t.Fatal(err)
	}
	for i, l := range labels {
		b.Bind(l)
		if i%4 == 0 {
			b.Load(OffLow(i % 6))
			b.JumpAny(uint32(i), other, Next)
		}
		b.Ret(uint32(1000 + i))
	}
	b.Bind(other)
	b.Ret(7)
	prog, err := b.Assemble()
	if err != nil {
		t.Fatal(err)
	}
	model := func(d Data) uint32 {
		i := int(d.Nr / 3)
		if i >= rules || int(d.Nr%3) > i%2 || i%4 == 0 && uint32(d.Args[i%6])&uint32(i) != 0 {
			return 7
		}
		return uint32(1000 + i)
	}
	steps := 0
	for nr := range uint32(3*rules + 10) {
		for _, arg := range []uint64{0, math.MaxUint64, 1 << 40, uint64(nr / 3), uint64(nr/3) + 1} {
			d := Data{Nr: nr, Args: [6]uint64{arg, arg, arg, arg, arg, arg}}
			r := Run(prog, d)
			if want := model(d); r.Value != want {
				t.Fatalf("nr %d, args %#x: %d, want %d", nr, arg, r.Value, want)
			}
			if ref := reference(t, prog, d); nr%97 == 0 && ref != r.Value {
				t.Fatalf("nr %d: x/net/bpf says %d, we %d", nr, ref, r.Value)
			}
			steps = max(steps, r.Steps)
		}
	}
	if limit := 2*12 + 6; steps > limit {
		t.Errorf("the search takes %d steps for %d ranges, more than %d", steps, rules, limit)
	}
}

// TestJumpDistances puts a target exactly at, before and beyond the reach of a
// conditional jump, for both of its sides at once.
func TestJumpDistances(t *testing.T) {
	for between := 250; between < 262; between++ {
		var b Builder
		yes, no := b.Label(), b.Label()
		b.Load(OffNr)
		b.JumpEqual(5, yes, no)
		for range between {
			b.And(math.MaxUint32)
		}
		b.Bind(yes)
		b.Ret(1)
		b.Bind(no)
		b.Ret(2)
		prog, err := b.Assemble()
		if err != nil {
			t.Fatal(err)
		}
		if y, n := Run(prog, Data{Nr: 5}).Value, Run(prog, Data{Nr: 6}).Value; y != 1 || n != 2 {
			t.Errorf("%d instructions between: %d and %d, want 1 and 2", between, y, n)
		}
	}
}

func TestConst(t *testing.T) {
	var b Builder
	l := b.Label()
	b.Load(OffArch)
	b.JumpEqual(1, Next, l)
	b.Load(OffNr)
	b.Ret(1)
	b.Bind(l)
	b.Load(OffHigh(0))
	b.Ret(2)
	prog, err := b.Assemble()
	if err != nil {
		t.Fatal(err)
	}
	if r := Run(prog, Data{Arch: 1}); !r.Const || r.Value != 1 || r.Steps != 4 {
		t.Errorf("number and architecture only: %+v", r)
	}
	if r := Run(prog, Data{}); r.Const || r.Value != 2 {
		t.Errorf("an argument was loaded: %+v", r)
	}
}

func TestMistakes(t *testing.T) {
	ret := Instruction{Code: opRet}
	for name, prog := range map[string][]Instruction{
		"empty":              {},
		"too long":           make([]Instruction, MaxInstructions+1),
		"no return":          {{Code: opLoad}},
		"unaligned load":     {{Code: opLoad, K: 2}, ret},
		"load beyond data":   {{Code: opLoad, K: dataLen}, ret},
		"unknown operation":  {{Code: 0x80}, ret},
		"jump off the end":   {{Code: opJump, K: 1}, ret},
		"true off the end":   {{Code: opJEQ, Jt: 1}, ret},
		"false off the end":  {{Code: opJEQ, Jf: 1}, ret},
		"jump wraps around":  {{Code: opJump, K: math.MaxUint32}, ret},
		"return is not last": {ret, {Code: opAnd}},
	} {
		if err := Check(prog); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}

	var b Builder
	b.Label()
	b.Ret(0)
	if _, err := b.Assemble(); !errors.Is(err, ErrInvalid) {
		t.Errorf("label without a place: %v", err)
	}
	b = Builder{}
	back := b.Label()
	b.Bind(back)
	b.Load(OffNr)
	b.JumpEqual(1, back, Next)
	b.Ret(0)
	if _, err := b.Assemble(); !errors.Is(err, ErrInvalid) {
		t.Errorf("jump backwards: %v", err)
	}
	b = Builder{}
	for range MaxInstructions + 1 {
		b.Ret(0)
	}
	if _, err := b.Assemble(); !errors.Is(err, ErrInvalid) {
		t.Errorf("too long: %v", err)
	}
	b = Builder{}
	if err := b.Dispatch([]Range{{1, 5, Next}, {5, 6, Next}}, Next); !errors.Is(err, ErrInvalid) {
		t.Errorf("overlapping ranges: %v", err)
	}
}

// FuzzCheck looks for a program that Check accepts and that then runs off its
// end, or differently from x/net/bpf.
func FuzzCheck(f *testing.F) {
	f.Add([]byte{0x20, 0, 0, 0, 0, 0, 0, 0, 0x06, 0, 0, 0, 1, 0, 0, 0}, uint32(3))
	f.Add([]byte{0x15, 0, 1, 0, 3, 0, 0, 0, 0x06, 0, 0, 0, 1, 0, 0, 0, 0x06, 0, 0, 0, 2, 0, 0, 0}, uint32(3))
	f.Fuzz(func(t *testing.T, raw []byte, nr uint32) {
		var prog []Instruction
		for ; len(raw) >= 8; raw = raw[8:] {
			prog = append(prog, Instruction{
				Code: binary.LittleEndian.Uint16(raw), Jt: raw[2], Jf: raw[3], K: binary.LittleEndian.Uint32(raw[4:]),
			})
		}
		if Check(prog) != nil {
			return
		}
		d := Data{Nr: nr, Arch: 1, Args: [6]uint64{uint64(nr) << 32, 1, 2, 3, 4, math.MaxUint64}}
		r := Run(prog, d)
		if r.Steps > len(prog) {
			t.Errorf("%d steps in %d instructions", r.Steps, len(prog))
		}
		if want := reference(t, prog, d); r.Value != want {
			t.Errorf("got %#x, x/net/bpf says %#x", r.Value, want)
		}
	})
}
