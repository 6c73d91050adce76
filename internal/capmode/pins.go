package capmode

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// pinned reports whether a call that was let go on, by a thread other than except,
// may still look number n up.
func (p *process) pinned(n, except int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for tid, pin := range p.pins {
		if tid != except && (pin.fd == n || pin.other == n) {
			return true
		}
	}
	return false
}

// settled waits, for a little while, until no call that was let go on may still
// look number n up.
func (c *call) settled(n int) bool {
	for range 50 {
		c.p.mu.Lock()
		for tid, pin := range c.p.pins {
			if tid != c.TID() && (pin.fd == n || pin.other == n) && c.past(tid) {
				delete(c.p.pins, tid)
			}
		}
		c.p.mu.Unlock()
		if !c.p.pinned(n, c.TID()) {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// past reports whether thread tid has surely looked up the descriptors of the call
// it was let into: it is dead, or it sleeps. A call looks its descriptor up before
// it sleeps; one that sleeps before, on a page of its arguments, is among the calls
// that carry no data and is not let go on by this rule. A thread that runs has not
// surely got there.
func (c *call) past(tid int) bool {
	text, err := c.ReadProc(strconv.Itoa(tid) + "/stat")
	if err != nil {
		return err == unix.ESRCH
	}
	i := bytes.LastIndexByte(text, ')')
	return i > 0 && i+2 < len(text) && bytes.IndexByte([]byte("SDZXT"), text[i+2]) >= 0
}
