package syscalls

import (
	"fmt"
	"slices"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"golang.org/x/sys/unix"
)

// Compile returns the filter for one architecture. Calls that always pass
// return before any argument is loaded: the kernel then keeps them in a bitmap
// and does not run the filter for them at all.
func Compile(arch sysno.Arch, o Options) ([]cbpf.Instruction, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if prog := ahead(arch, o); prog != nil {
		return prog, nil
	}
	return generate(arch, o)
}

// generate makes the filter from the table.
func generate(arch sysno.Arch, o Options) ([]cbpf.Instruction, error) {
	calls := sysno.Table(arch)
	if calls == nil {
		return nil, fmt.Errorf("compile filter for %s: %w", arch, unix.EINVAL)
	}
	c := compiler{made: make(map[[2]*Rule]cbpf.Label, 256)}
	other := c.verdict(unlisted)
	var ranges []cbpf.Range
	for _, e := range calls {
		label, err := c.block(e.Name, o)
		if err != nil {
			return nil, err
		}
		nr := uint32(e.Nr)
		if n := len(ranges); n > 0 && ranges[n-1].To == label && ranges[n-1].High+1 == nr {
			ranges[n-1].High = nr
			continue
		}
		ranges = append(ranges, cbpf.Range{Low: nr, High: nr, To: label})
	}

	if o.requests() {
		ranges = append(ranges, cbpf.Range{Low: request.Number, High: request.Number, To: c.verdict(o.final(Ask))})
	}
	c.Load(cbpf.OffArch)
	c.JumpEqual(uint32(arch), cbpf.Next, other)
	c.Load(cbpf.OffNr)
	if err := c.Dispatch(ranges, other); err != nil {
		return nil, fmt.Errorf("compile filter for %s: %w", arch, err)
	}
	for _, b := range c.pending {
		c.Bind(b.label)
		c.rules(b.rules)
	}
	prog, err := c.Assemble()
	if err != nil {
		return nil, fmt.Errorf("compile filter for %s: %w", arch, err)
	}
	return prog, nil
}

// compiler collects the blocks that numbers lead to; calls with the same rules
// share one.
type compiler struct {
	cbpf.Builder
	made    map[[2]*Rule]cbpf.Label // by the first of the rules that rows share
	pending []block
}

type block struct {
	label cbpf.Label
	rules []Rule
}

// block returns the label of the code for the call called name.
func (c *compiler) block(name string, o Options) (cbpf.Label, error) {
	row := table()[name]
	if row == nil {
		return c.verdict(unlisted), nil
	}
	first := [2]*Rule{&row.In(o.Mode)[0]}
	if o.Library {
		first[1] = &row.attached[0]
	}
	if l, ok := c.made[first]; ok {
		return l, nil
	}
	rules, err := row.active(o)
	if err != nil {
		return 0, err
	}
	c.made[first] = c.share(rules)
	return c.made[first], nil
}

// verdict returns the label of a block that decides v.
func (c *compiler) verdict(v Verdict) cbpf.Label { return c.share([]Rule{{Do: v}}) }

func (c *compiler) share(rules []Rule) cbpf.Label {
	for _, b := range c.pending {
		if sameCode(b.rules, rules) {
			return b.label
		}
	}
	l := c.Label()
	c.pending = append(c.pending, block{l, rules})
	return l
}

// sameCode reports whether a and b compile to the same code.
func sameCode(a, b []Rule) bool {
	return slices.EqualFunc(a, b, func(x, y Rule) bool { return x.Do == y.Do && sameTests(x, y) })
}

// rules emits one block.
func (c *compiler) rules(rules []Rule) {
	for _, r := range rules {
		fail := c.Label()
		for _, t := range r.Args {
			c.test(t, fail)
		}
		c.Ret(uint32(r.Do))
		c.Bind(fail)
	}
}

// test emits a comparison that goes on when it holds and to fail otherwise.
func (c *compiler) test(t ArgTest, fail cbpf.Label) {
	if t.Mask>>32 != 0 {
		c.wide(t, fail)
		return
	}
	c.load(cbpf.OffLow(t.Arg), uint32(t.Mask))
	last := len(t.Values) - 1
	switch t.Op {
	case Above:
		c.JumpAbove(uint32(t.Values[0]), cbpf.Next, fail)
	case NotIn:
		for _, v := range t.Values {
			c.JumpEqual(uint32(v), fail, cbpf.Next)
		}
	case In:
		ok := c.Label()
		for i, v := range t.Values {
			miss := cbpf.Next
			if i == last {
				miss = fail
			}
			c.JumpEqual(uint32(v), ok, miss)
		}
		c.Bind(ok)
	}
}

// wide emits a comparison of all 64 bits.
func (c *compiler) wide(t ArgTest, fail cbpf.Label) {
	hold := c.Label()
	equal, unequal := hold, fail // where to go once a value matched, and when none did
	if t.Op == NotIn {
		equal, unequal = fail, hold
	}
	for _, v := range t.Values {
		miss := c.Label()
		c.load(cbpf.OffLow(t.Arg), uint32(t.Mask))
		c.JumpEqual(uint32(v), cbpf.Next, miss)
		c.load(cbpf.OffHigh(t.Arg), uint32(t.Mask>>32))
		c.JumpEqual(uint32(v>>32), equal, cbpf.Next)
		c.Bind(miss)
	}
	c.Jump(unequal)
	c.Bind(hold)
}

// load puts a masked word into the accumulator.
func (c *compiler) load(off, mask uint32) {
	c.Load(off)
	if mask != low32 {
		c.And(mask)
	}
}
