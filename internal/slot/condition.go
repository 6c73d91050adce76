package slot

import (
	"slices"

	"golang.org/x/sys/unix"
)

// clause refuses a call with errno if every test holds. The first clause that
// holds decides; a zero errno lets the call pass.
type clause struct {
	tests []test
	errno unix.Errno
}

// op is how a register is compared.
type op uint8

const (
	in     op = iota // the register, masked, is one of values
	notIn            // it is none of them
	above            // it is greater than values[0]
	anyOf            // it has any of the bits of values[0]
	noneOf           // it has none of them
)

// test compares one register. The kernel reads descriptors, commands and most
// flags as 32-bit numbers and ignores what is above, so a test that looked at it
// could be dodged; a wide test looks at all 64 bits, of pointers and offsets.
type test struct {
	arg    int
	op     op
	wide   bool   // one value only
	mask   uint32 // 0 for none
	values []uint64
}

func is(arg int, values ...uint64) test    { return test{arg: arg, op: in, values: values} }
func isNot(arg int, values ...uint64) test { return test{arg: arg, op: notIn, values: values} }
func hasAny(arg int, bits uint64) test     { return test{arg: arg, op: anyOf, values: []uint64{bits}} }
func hasNone(arg int, bits uint64) test    { return test{arg: arg, op: noneOf, values: []uint64{bits}} }
func isAbove(arg int, v uint64) test       { return test{arg: arg, op: above, values: []uint64{v}} }
func isNull(arg int) test                  { return test{arg: arg, op: in, wide: true, values: []uint64{0}} }
func notNull(arg int) test                 { return test{arg: arg, op: notIn, wide: true, values: []uint64{0}} }

// holds is the meaning of t, which filters are tested against.
func (t test) holds(args [6]uint64) bool {
	v := args[t.arg]
	if !t.wide {
		v = uint64(uint32(v))
	}
	if t.mask != 0 {
		v &= uint64(t.mask)
	}
	switch t.op {
	case in:
		return slices.Contains(t.values, v)
	case notIn:
		return !slices.Contains(t.values, v)
	case above:
		return v > t.values[0]
	case anyOf:
		return v&t.values[0] != 0
	case noneOf:
		return v&t.values[0] == 0
	}
	return false
}

func (t test) same(u test) bool {
	return t.arg == u.arg && t.op == u.op && t.wide == u.wide && t.mask == u.mask && slices.Equal(t.values, u.values)
}

// sameTests reports whether two lists refuse the same, where no list at all
// refuses nothing and an empty one everything.
func sameTests(a, b []test) bool {
	return (a == nil) == (b == nil) && slices.EqualFunc(a, b, test.same)
}

func sameClauses(a, b []clause) bool {
	return slices.EqualFunc(a, b, func(x, y clause) bool {
		return x.errno == y.errno && slices.EqualFunc(x.tests, y.tests, test.same)
	})
}

// decide says what a list of clauses makes of a call: 0 for passing.
func decide(list []clause, args [6]uint64) unix.Errno {
	for _, c := range list {
		if !slices.ContainsFunc(c.tests, func(t test) bool { return !t.holds(args) }) {
			return c.errno
		}
	}
	return 0
}
