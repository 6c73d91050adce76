package capmode

import (
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/slot"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// slotAnswers answers calls that take descriptors in registers and do nothing that
// the kernel could not do itself once they are judged.
func (w *Warden) slotAnswers() []answer { return []answer{{slot.Calls(), judged}} }

// judged lets a call go on if the descriptors in its registers have the rights.
// Until the caller has looked the numbers up nothing with fewer rights is put
// there.
func judged(c *call) supervisor.Result {
	t := c.table()
	defer t.Unlock()
	p := only(none)
	for _, need := range slot.Needs(c.Name, c.args()) {
		if need.FD < 0 {
			continue
		}
		p.add(int(need.FD))
		f, caps, err := c.limited(t, need.FD)
		switch {
		case err != nil:
			return fail(err)
		case f == nil:
			continue
		}
		met := need.Met(caps, slot.Options{ReadOnly: readOnly(f)})
		f.Close()
		if !met {
			return supervisor.Errno(eNotCapable)
		}
	}
	return c.goOn(p, "only registers were looked at, and the numbers keep their meaning")
}

// readOnly reports whether f is not open for writing.
func readOnly(f *sys.FD) bool {
	flags, err := unix.FcntlInt(uintptr(f.Int()), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_ACCMODE == unix.O_RDONLY
}

func (p *pin) add(fd int) {
	if p.fd < 0 {
		p.fd = fd
	} else {
		p.other = fd
	}
}

func (c *call) args() (args [6]uint64) {
	for i := range args {
		args[i] = c.Arg(i)
	}
	return args
}

// goOn lets the kernel carry the call out, and remembers which numbers it looks up.
func (c *call) goOn(p pin, reason string) supervisor.Result {
	k := &continued{pin: p, call: c.Name}
	c.p.pins.set(c.TID(), k)
	return supervisor.ContinueAnd(reason, func() { k.let.Store(true) })
}
