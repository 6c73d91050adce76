package syscalls

import (
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// Rule is one line of a row: under When, if every one of Args holds, Do.
type Rule struct {
	When   Cond
	Args   []ArgTest
	Do     Verdict
	Reason string
	// Continue is, for a rule that asks, the reason why the supervisor may let
	// the kernel carry the call out after a look, although the program can change
	// what was looked at. It is empty where the supervisor must act itself.
	Continue string
}

func pass(reason string) Rule { return Rule{When: always, Do: Pass, Reason: reason} }
func ask(reason string) Rule  { return Rule{When: always, Do: Ask, Reason: reason} }
func refuse(e unix.Errno, reason string) Rule {
	return Rule{When: always, Do: Errno(e), Reason: reason}
}

// when restricts a rule to options.
func (r Rule) when(c Cond) Rule { r.When = c; return r }

// where restricts a rule to arguments.
func (r Rule) where(tests ...ArgTest) Rule { r.Args = tests; return r }

// mayContinue states why an asked call may be continued.
func (r Rule) mayContinue(reason string) Rule { r.Continue = reason; return r }

// Op is how an argument is compared.
type Op uint8

// The comparisons.
const (
	In    Op = iota // the masked argument is one of Values
	NotIn           // it is none of them
	Above           // it is greater than Values[0]; 32-bit masks only
)

// ArgTest compares one argument register. Registers are 64 bits wide, but the
// kernel reads most of them as 32-bit numbers and ignores what is above: such
// an argument must be compared with a mask that ignores it too, or a bit set up
// there dodges the test.
type ArgTest struct {
	Arg    int
	Mask   uint64
	Op     Op
	Values []uint64
	Text   string // what the documentation calls it
}

// Holds reports whether the test holds for args.
func (t ArgTest) Holds(args [6]uint64) bool {
	v := args[t.Arg] & t.Mask
	switch t.Op {
	case In:
		return slices.Contains(t.Values, v)
	case NotIn:
		return !slices.Contains(t.Values, v)
	case Above:
		return v > t.Values[0]
	}
	return false
}

// low32 is the mask of an argument that the kernel takes as int or unsigned.
const low32 = math.MaxUint32

// is tests that 32-bit argument arg is one of values.
func is(text string, arg int, values ...uint64) ArgTest {
	return ArgTest{arg, low32, In, values, text}
}

// isNot tests that 32-bit argument arg is none of values.
func isNot(text string, arg int, values ...uint64) ArgTest {
	return ArgTest{arg, low32, NotIn, values, text}
}

// above tests that 32-bit argument arg is greater than value.
func above(text string, arg int, value uint64) ArgTest {
	return ArgTest{arg, low32, Above, []uint64{value}, text}
}

// part tests that the bits of 32-bit argument arg inside mask are one of values.
func part(text string, arg int, mask uint64, values ...uint64) ArgTest {
	return ArgTest{arg, mask & low32, In, values, text}
}

// hasAny tests that 32-bit argument arg has any of bits.
func hasAny(text string, arg int, bits uint64) ArgTest {
	return ArgTest{arg, bits & low32, NotIn, []uint64{0}, text}
}

// onlyBits tests that all 64 bits of argument arg are inside bits.
func onlyBits(text string, arg int, bits uint64) ArgTest {
	return ArgTest{arg, ^bits, In, []uint64{0}, text}
}

// isNull tests that pointer argument arg is null.
func isNull(text string, arg int) ArgTest {
	return ArgTest{arg, math.MaxUint64, In, []uint64{0}, text}
}

// notNull tests that pointer argument arg is not null.
func notNull(text string, arg int) ArgTest {
	return ArgTest{arg, math.MaxUint64, NotIn, []uint64{0}, text}
}

// same reports whether t and u compile to the same code.
func (t ArgTest) same(u ArgTest) bool {
	return t.Arg == u.Arg && t.Mask == u.Mask && t.Op == u.Op && slices.Equal(t.Values, u.Values)
}
