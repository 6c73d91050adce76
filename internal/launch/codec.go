package launch

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/rights"
)

// The setup is written by one half of this executable and read by the other, at
// the program's first question, which waits for it. So it is encoded field after
// field, in the order below; encoding/json takes twenty times as long for it.

// encoder appends values.
type encoder struct{ b []byte }

func (e *encoder) uint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }

func (e *encoder) bool(v bool) {
	if v {
		e.uint(1)
	} else {
		e.uint(0)
	}
}

func (e *encoder) text(s string) {
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) texts(list []string) { encodeList(e, list, (*encoder).text) }

func (e *encoder) rights(s rights.Set) {
	for _, word := range s.Words() {
		e.b = binary.LittleEndian.AppendUint64(e.b, word)
	}
}

func encodeList[T any](e *encoder, list []T, one func(*encoder, T)) {
	e.uint(uint64(len(list)))
	for _, v := range list {
		one(e, v)
	}
}

// decoder takes values off; after an error they are all zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = fmt.Errorf("decode setup, %d bytes before its end: %w", len(d.b), unix.EBADMSG)
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bool() bool {
	v := d.uint()
	if v > 1 {
		d.fail()
	}
	return v == 1
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) text() string { return string(d.bytes(d.uint())) }

func (d *decoder) texts() []string { return decodeList(d, (*decoder).text) }

func (d *decoder) rights() rights.Set {
	b := d.bytes(16)
	if b == nil {
		return rights.Set{}
	}
	set, err := rights.FromWords([]uint64{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])})
	if err != nil {
		d.fail()
	}
	return set
}

// decodeList reads as many values as there are said to be; each takes a byte at
// least, so that a wrong number cannot ask for much memory.
func decodeList[T any](d *decoder, one func(*decoder) T) []T {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	var list []T
	if n > 0 {
		list = make([]T, 0, n)
	}
	for range n {
		list = append(list, one(d))
	}
	return list
}

func (e *encoder) setup(s *setup) {
	e.text(string(s.Engine))
	e.bool(s.Linger)
	e.text(s.State)
	encodeList(e, s.Plan.Entries, (*encoder).entry)
	encodeList(e, s.Plan.Links, (*encoder).link)
	e.texts(s.Plan.Dirs)
	e.text(s.Plan.Program.Path)
	e.texts(s.Plan.Program.Argv)
	e.text(s.Plan.Program.Library)
	e.text(s.Plan.Cwd)
	e.options(s.Filter)
	encodeList(e, s.Held, (*encoder).entry)
}

func (d *decoder) setup() *setup {
	return &setup{
		Engine: policy.Engine(d.text()),
		Linger: d.bool(),
		State:  d.text(),
		Plan: &plan.Plan{
			Entries: decodeList(d, (*decoder).entry),
			Links:   decodeList(d, (*decoder).link),
			Dirs:    d.texts(),
			Program: plan.Program{Path: d.text(), Argv: d.texts(), Library: d.text()},
			Cwd:     d.text(),
		},
		Filter: d.options(),
		Held:   decodeList(d, (*decoder).entry),
	}
}

func (e *encoder) entry(v plan.Entry) {
	e.text(v.Dest)
	e.text(v.Source)
	e.text(string(v.Kind))
	e.rights(v.Rights)
	e.uint(v.ID.Dev)
	e.uint(v.ID.Ino)
	e.uint(uint64(v.Mode))
	e.texts(v.Origin)
}

func (d *decoder) entry() plan.Entry {
	return plan.Entry{
		Dest: d.text(), Source: d.text(), Kind: plan.Kind(d.text()), Rights: d.rights(),
		ID: plan.ID{Dev: d.uint(), Ino: d.uint()}, Mode: uint32(d.uint()), Origin: d.texts(),
	}
}

func (e *encoder) link(v plan.Link) {
	e.text(v.Path)
	e.text(v.Target)
	e.text(v.Origin)
}

func (d *decoder) link() plan.Link {
	return plan.Link{Path: d.text(), Target: d.text(), Origin: d.text()}
}

func (e *encoder) options(o syscalls.Options) {
	e.text(string(o.Engine))
	e.uint(uint64(o.Mode))
	for _, v := range []bool{o.Net, o.Dgram, o.SignalScope, o.AbstractScope, o.UnixScope, o.PtraceScope, o.Flock, o.NoCopies,
		o.Library} {
		e.bool(v)
	}
	e.rights(o.Lacking)
	e.uint(uint64(o.NoSupervisor))
}

func (d *decoder) options() syscalls.Options {
	return syscalls.Options{
		Engine: policy.Engine(d.text()), Mode: syscalls.Mode(d.uint()),
		Net: d.bool(), Dgram: d.bool(), SignalScope: d.bool(), AbstractScope: d.bool(), UnixScope: d.bool(),
		PtraceScope: d.bool(), Flock: d.bool(), NoCopies: d.bool(), Library: d.bool(),
		Lacking: d.rights(), NoSupervisor: unix.Errno(d.uint()),
	}
}
