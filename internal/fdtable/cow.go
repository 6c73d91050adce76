package fdtable

import (
	"math/bits"
	"slices"
)

// cow maps descriptor numbers to values, in order. A snapshot of it costs nothing;
// the pages that either side changes afterwards are copied then.
type cow[V any] struct {
	pages  []*page[V] // of pageSize numbers each
	shared bool       // pages is also somebody else's slice
	owner  *owner     // pages of other owners are not ours to change
	n      int
}

const pageSize = 64

// page holds the values of the numbers whose bits are set in used, packed.
type page[V any] struct {
	owner  *owner
	used   uint64
	values []*V // never changed in place
}

// owner is the identity of a cow between two snapshots. It has a size, because
// pointers to things without one may be equal.
type owner struct{ _ byte }

// snapshot returns a copy; neither sees what becomes of the other.
func (c *cow[V]) snapshot() cow[V] {
	c.shared, c.owner = true, new(owner)
	s := *c
	s.owner = new(owner)
	return s
}

// at returns the page of n and n's bit and place in it.
func (c *cow[V]) at(n int) (p *page[V], bit uint64, place int) {
	if n < 0 || n/pageSize >= len(c.pages) {
		return nil, 0, 0
	}
	p = c.pages[n/pageSize]
	if p == nil {
		return nil, 0, 0
	}
	bit = 1 << (n % pageSize)
	return p, bit, bits.OnesCount64(p.used & (bit - 1))
}

// get returns the value of n, nil if it has none.
func (c *cow[V]) get(n int) *V {
	p, bit, place := c.at(n)
	if p == nil || p.used&bit == 0 {
		return nil
	}
	return p.values[place]
}

// own makes the page of n ours to change, growing the table up to it.
func (c *cow[V]) own(n int) *page[V] {
	if c.owner == nil {
		c.owner = new(owner)
	}
	if c.shared {
		c.pages, c.shared = slices.Clone(c.pages), false
	}
	if more := n/pageSize + 1 - len(c.pages); more > 0 {
		c.pages = append(c.pages, make([]*page[V], more)...)
	}
	slot := &c.pages[n/pageSize]
	switch p := *slot; {
	case p == nil:
		*slot = &page[V]{owner: c.owner}
	case p.owner != c.owner:
		*slot = &page[V]{owner: c.owner, used: p.used, values: slices.Clone(p.values)}
	}
	return *slot
}

// put sets the value of n, which is not negative.
func (c *cow[V]) put(n int, v V) {
	c.own(n)
	p, bit, place := c.at(n)
	if p.used&bit != 0 {
		p.values[place] = &v
		return
	}
	p.used |= bit
	p.values = slices.Insert(p.values, place, &v)
	c.n++
}

// drop forgets the value of n.
func (c *cow[V]) drop(n int) {
	if c.get(n) == nil {
		return
	}
	c.own(n)
	p, bit, place := c.at(n)
	p.used &^= bit
	p.values = slices.Delete(p.values, place, place+1)
	c.n--
	if p.used == 0 {
		c.pages[n/pageSize] = nil
	}
}

// next returns the lowest number from n on that has a value, -1 if none has. An
// iteration by it survives changes meanwhile.
func (c *cow[V]) next(n int) int {
	n = max(n, 0)
	for i := n / pageSize; i < len(c.pages); i++ {
		if p := c.pages[i]; p != nil {
			used := p.used
			if i == n/pageSize {
				used &= ^uint64(0) << (n % pageSize)
			}
			if used != 0 {
				return i*pageSize + bits.TrailingZeros64(used)
			}
		}
	}
	return -1
}
