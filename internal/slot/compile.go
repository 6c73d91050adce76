package slot

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// program is a filter before it is code: what it refuses of each call. A call
// that is not in it passes, before any argument is loaded: the kernel then keeps
// the call in a bitmap and runs no filter for it.
type program struct {
	arch      sysno.Arch
	calls     map[string][]clause
	questions []clause
	guarded   bool       // an older filter refuses foreign calls, and numbers that have no name
	foreign   unix.Errno // the answer to other architectures' calls
	unlisted  unix.Errno // the answer to numbers that have no name
}

// bucket is how many comparisons are made one after the other before halving
// the rest is shorter. A chain needs fewer instructions than a tree, which needs
// fewer steps.
const bucket = 10

// run is a range of call numbers with the same code.
type run struct {
	low, high uint32
	to        cbpf.Label
}

func (r run) cost() int {
	if r.low == r.high {
		return 1
	}
	return 2
}

// compiler collects the blocks that numbers lead to.
type compiler struct {
	cbpf.Builder
	pass   cbpf.Label
	free   cbpf.Label // of numbers that may lead anywhere
	refuse map[unix.Errno]cbpf.Label
	blocks []block
	loaded uint32 // the offset whose word is in the accumulator, or nothing
	order  []unix.Errno
}

type block struct {
	label   cbpf.Label
	clauses []clause
}

const nothing = math.MaxUint32

// compile makes the filter.
func (p *program) compile() ([]cbpf.Instruction, error) {
	if sysno.Table(p.arch) == nil {
		return nil, fmt.Errorf("compile for %s: %w", p.arch, unix.EINVAL)
	}
	c := &compiler{refuse: make(map[unix.Errno]cbpf.Label)}
	c.pass = c.Label()
	c.free = c.Label()
	c.Bind(c.free) // never jumped to
	runs := c.runs(p)
	if !p.guarded {
		c.Load(cbpf.OffArch)
		c.JumpEqual(uint32(p.arch), cbpf.Next, c.verdict(p.foreign))
	}
	c.Load(cbpf.OffNr)
	c.tree(runs)
	c.code()
	for _, e := range c.order {
		c.Bind(c.refuse[e])
		c.Ret(uint32(unix.SECCOMP_RET_ERRNO) | uint32(e))
	}
	c.Bind(c.pass)
	c.Ret(unix.SECCOMP_RET_ALLOW)
	return c.Assemble()
}

// code writes the blocks. One that has all of a later one's only clause ends in
// that one, so the simplest come last.
func (c *compiler) code() {
	slices.SortStableFunc(c.blocks, func(a, b block) int { return cmp.Compare(size(b.clauses), size(a.clauses)) })
	for i, b := range c.blocks {
		c.Bind(b.label)
		c.loaded = nothing
		list, otherwise := b.clauses, c.pass
		for _, later := range c.blocks[i+1:] {
			if at := ending(list, later.clauses); at >= 0 {
				list, otherwise = slices.Delete(slices.Clone(list), at, at+1), later.label
				break
			}
		}
		c.emit(list, otherwise)
	}
}

// size is the number of tests in list.
func size(list []clause) int {
	n := 0
	for _, c := range list {
		n += len(c.tests)
	}
	return n
}

// ending returns which clause of list is the same as what later consists of, and
// may be tried last because all clauses answer the same; -1 for none.
func ending(list, later []clause) int {
	if len(later) != 1 || len(list) < 2 {
		return -1
	}
	if slices.ContainsFunc(list, func(c clause) bool { return c.errno != later[0].errno }) {
		return -1
	}
	return slices.IndexFunc(list, func(c clause) bool { return sameClauses([]clause{c}, later) })
}

// verdict returns where e is answered.
func (c *compiler) verdict(e unix.Errno) cbpf.Label {
	if e == 0 {
		return c.pass
	}
	if l, ok := c.refuse[e]; ok {
		return l
	}
	l := c.Label()
	c.refuse[e] = l
	c.order = append(c.order, e)
	return l
}

// at returns where a call with these clauses is decided.
func (c *compiler) at(list []clause) cbpf.Label {
	if len(list) == 0 {
		return c.pass
	}
	if len(list[0].tests) == 0 {
		return c.verdict(list[0].errno)
	}
	for _, b := range c.blocks {
		if sameClauses(b.clauses, list) {
			return b.label
		}
	}
	l := c.Label()
	c.blocks = append(c.blocks, block{l, list})
	return l
}

// numbered is a call that does not simply pass.
type numbered struct {
	nr      uint32
	clauses []clause
}

// decided returns the calls that do not simply pass, by number. They are few, and
// the numbers many.
func (p *program) decided() []numbered {
	out := make([]numbered, 0, len(p.calls))
	for name, list := range p.calls {
		if nr, ok := sysno.Nr(p.arch, name); ok {
			out = append(out, numbered{uint32(nr), list})
		}
	}
	slices.SortFunc(out, func(a, b numbered) int { return cmp.Compare(a.nr, b.nr) })
	return out
}

// runs returns the numbers that do not pass, in order.
func (c *compiler) runs(p *program) []run {
	unlisted, foreign := c.verdict(p.unlisted), c.verdict(p.foreign)
	if p.guarded {
		foreign = c.free
		if p.unlisted == 0 {
			unlisted = c.free
		}
	}
	var all []run
	next := uint32(0)
	add := func(last uint32, to cbpf.Label) {
		if n := len(all); n > 0 && all[n-1].to == to {
			all[n-1].high = last
		} else {
			all = append(all, run{next, last, to})
		}
		next = last + 1
	}
	decided := p.decided()
	for _, e := range sysno.Table(p.arch) {
		nr := uint32(e.Nr)
		if nr > next {
			add(nr-1, unlisted)
		}
		if len(decided) > 0 && decided[0].nr == nr {
			add(nr, c.at(decided[0].clauses))
			decided = decided[1:]
		} else {
			add(nr, c.pass)
		}
	}
	if next < request.Number {
		add(request.Number-1, unlisted)
	}
	add(request.Number, c.at(p.questions))
	add(sysno.X32Bit-1, unlisted)
	add(math.MaxUint32, foreign)
	return c.join(all)
}

// join makes one run of neighbours that lead to the same code. Numbers that are
// refused elsewhere go with what is on both sides of them.
func (c *compiler) join(all []run) []run {
	var out []run
	var free []run // since the last of out
	for _, r := range all {
		if r.to == c.free {
			free = append(free, r)
			continue
		}
		n := len(out)
		if n > 0 && out[n-1].to == r.to && (len(free) > 0 || out[n-1].high+1 == r.low) {
			out[n-1].high = r.high
		} else {
			out = append(out, r)
		}
		free = nil
	}
	return slices.DeleteFunc(out, func(r run) bool { return r.to == c.pass })
}

// tree finds the run of the number in the accumulator.
func (c *compiler) tree(runs []run) {
	total := 0
	for _, r := range runs {
		total += r.cost()
	}
	if total <= bucket {
		c.chain(runs)
		return
	}
	half, mid := 0, 0
	for half < total/2 {
		half += runs[mid].cost()
		mid++
	}
	if mid == len(runs) { // the last run is the only heavy one
		mid--
	}
	high := c.Label()
	c.JumpAtLeast(runs[mid].low, high, cbpf.Next)
	c.tree(runs[:mid])
	c.Bind(high)
	c.tree(runs[mid:])
}

// chain compares the number with one run after the other.
func (c *compiler) chain(runs []run) {
	for i, r := range runs {
		other := cbpf.Next
		if i == len(runs)-1 {
			other = c.pass
		}
		switch {
		case r.low == r.high:
			c.JumpEqual(r.low, r.to, other)
		case r.high == math.MaxUint32:
			c.JumpAtLeast(r.low, r.to, other)
		default:
			// What is below is in no run, because they ascend.
			if i == 0 || runs[i-1].low == runs[i-1].high || runs[i-1].high+1 < r.low {
				c.JumpAtLeast(r.low, cbpf.Next, c.pass)
			}
			c.JumpAbove(r.high, other, r.to)
		}
	}
	if len(runs) == 0 {
		c.Jump(c.pass)
	}
}

// emit writes code for list that ends at otherwise if no clause holds. Clauses
// in a row that begin with the same test share it.
func (c *compiler) emit(list []clause, otherwise cbpf.Label) {
	for len(list) > 0 {
		if len(list[0].tests) == 0 {
			c.Jump(c.verdict(list[0].errno))
			return
		}
		t := list[0].tests[0]
		n := 1
		for n < len(list) && len(list[n].tests) > 0 && list[n].tests[0].same(t) {
			n++
		}
		group := make([]clause, n)
		for i := range group {
			group[i] = clause{list[i].tests[1:], list[i].errno}
		}
		list = list[n:]
		c.group(t, group, len(list) == 0, otherwise)
	}
}

// group writes code for clauses that follow test t.
func (c *compiler) group(t test, group []clause, last bool, otherwise cbpf.Label) {
	fail := cbpf.Next
	if last {
		fail = otherwise
	}
	if len(group[0].tests) == 0 { // nothing more to test
		c.test(t, c.verdict(group[0].errno), fail)
		return
	}
	bind := fail == cbpf.Next
	if bind {
		fail = c.Label()
	}
	c.test(t, cbpf.Next, fail)
	c.emit(group, fail)
	if bind {
		c.Bind(fail)
		c.loaded = nothing
	}
}

// load puts a word into the accumulator unless it is there.
func (c *compiler) load(off uint32) {
	if c.loaded != off {
		c.Load(off)
		c.loaded = off
	}
}

// test goes to hold or fail; one of the two may be the next instruction.
func (c *compiler) test(t test, hold, fail cbpf.Label) {
	if t.op == notIn {
		t.op = in
		hold, fail = fail, hold
	}
	c.load(cbpf.OffLow(t.arg))
	if t.mask != 0 {
		c.And(t.mask)
		c.loaded = nothing
	}
	switch t.op {
	case above:
		c.JumpAbove(uint32(t.values[0]), hold, fail)
	case anyOf:
		c.JumpAny(uint32(t.values[0]), hold, fail)
	case noneOf:
		c.JumpAny(uint32(t.values[0]), fail, hold)
	case in:
		if t.wide {
			c.wide(t, hold, fail)
		} else {
			c.oneOf(t.values, hold, fail)
		}
	}
}

// wide compares both halves of a register with one value.
func (c *compiler) wide(t test, hold, fail cbpf.Label) {
	miss := fail
	if miss == cbpf.Next {
		miss = c.Label()
	}
	c.JumpEqual(uint32(t.values[0]), cbpf.Next, miss)
	c.Load(cbpf.OffHigh(t.arg))
	c.JumpEqual(uint32(t.values[0]>>32), hold, fail)
	if fail == cbpf.Next {
		c.Bind(miss)
	}
	c.loaded = nothing
}

// oneOf goes to hold if the accumulator is one of values.
func (c *compiler) oneOf(values []uint64, hold, fail cbpf.Label) {
	runs := valueRuns(values)
	end := c.Label()
	to := hold
	if to == cbpf.Next {
		to = end
	}
	for i, r := range runs {
		miss := cbpf.Next
		if i == len(runs)-1 {
			miss = fail
		}
		switch {
		case r.low == r.high && i == len(runs)-1:
			c.JumpEqual(r.low, hold, miss)
		case r.low == r.high:
			c.JumpEqual(r.low, to, cbpf.Next)
		default:
			below := fail // values ascend
			if below == cbpf.Next {
				below = end
			}
			c.JumpAtLeast(r.low, cbpf.Next, below)
			if i == len(runs)-1 {
				c.JumpAbove(r.high, miss, hold)
			} else {
				c.JumpAbove(r.high, cbpf.Next, to)
			}
		}
	}
	if len(runs) == 0 {
		c.Jump(fail)
	}
	c.Bind(end)
}

// valueRuns returns values as ranges, ascending.
func valueRuns(values []uint64) []run {
	values = slices.Clone(values)
	slices.SortFunc(values, cmp.Compare)
	var out []run
	for _, v := range values {
		w := uint32(v)
		if n := len(out); n > 0 && out[n-1].high+1 >= w {
			out[n-1].high = max(w, out[n-1].high)
			continue
		}
		out = append(out, run{low: w, high: w})
	}
	return out
}
