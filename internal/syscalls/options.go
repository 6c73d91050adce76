package syscalls

import (
	"fmt"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// Mode says what the confined program knows of its confinement.
type Mode uint8

// The modes.
const (
	// Wrapped is an unmodified program: it is refused with what Linux would say
	// (ENOENT, EPERM, EACCES, ENOSYS…).
	Wrapped Mode = iota
	// Attached is a process that confines itself and knows Capsicum's errnos. The
	// other options but NoSupervisor are not about it.
	Attached
)

// Options say what one filter is generated for. They are known before the
// program starts and never change while it runs.
type Options struct {
	Engine policy.Engine // EngineNamespaces or EngineLandlock
	Mode   Mode

	Net   bool // the host's network is granted
	Dgram bool // datagram Unix sockets exist and every message on them is mediated

	SignalScope   bool // Landlock keeps signals inside the sandbox (ABI 6)
	AbstractScope bool // Landlock keeps abstract Unix sockets inside the sandbox (ABI 6)
	UnixScope     bool // Landlock decides Unix sockets with a path (ABI 9)
	PtraceScope   bool // Landlock keeps tracing inside the sandbox (every ABI)

	// Lacking are rights that some grant withholds and that neither mount nor
	// Landlock can withhold: the calls they guard ask. See [Guardable].
	Lacking rights.Set
	// Flock says that some grant withholds flock, so that flock asks.
	Flock bool

	// NoCopies: pidfd_getfd is refused here, as by Docker's default profile, so
	// that the supervisor cannot act on a socket of the program's.
	NoCopies bool

	// Library lets a wrapped program confine itself: the filter asks also what that
	// of an [Attached] process asks.
	Library bool

	// NoSupervisor, if not 0, is the errno of every call that would ask: the
	// static form of the filter, for a program that nobody supervises.
	NoSupervisor unix.Errno
}

// check refuses options that no table exists for.
func (o Options) check() error {
	switch {
	case o.Mode == Attached:
		return nil
	case o.Mode != Wrapped:
		return fmt.Errorf("compile filter for mode %d: %w", o.Mode, unix.EINVAL)
	case o.Engine != policy.EngineNamespaces && o.Engine != policy.EngineLandlock:
		return fmt.Errorf("compile filter for engine %q: %w", o.Engine, unix.EINVAL)
	}
	return nil
}

// Guardable are the rights that calls of this table ask about when some grant
// lacks them. A right outside it must be withheld by mount or Landlock, or the
// loss be told.
func Guardable() rights.Set {
	s := rights.Of(
		rights.Fstat, rights.Fstatfs, rights.Ftruncate, rights.Flock, rights.Fchmod, rights.Fchown, rights.Futimes,
		rights.Fchflags, rights.ExtattrGet, rights.ExtattrSet, rights.ExtattrList, rights.ExtattrDelete,
		rights.AclGet, rights.AclSet, rights.AclDelete, rights.InotifyAdd, rights.Bindat, rights.Connectat,
	)
	return *s.Clear(rights.Lookup) // bindat and connectat contain it; names are what mounts are about
}

// Cond is a condition on the options, decided when the filter is made.
type Cond struct {
	Text  string // for the documentation: "under the landlock engine"
	Holds func(Options) bool
}

// The conditions rules are written with.
var (
	always = Cond{"", func(Options) bool { return true }}

	namespaces = Cond{"namespaces engine", func(o Options) bool { return o.Engine == policy.EngineNamespaces }}
	landlock   = Cond{"landlock engine", func(o Options) bool { return o.Engine == policy.EngineLandlock }}

	withNet       = Cond{"network granted", func(o Options) bool { return o.Net }}
	withoutNet    = Cond{"no network granted", func(o Options) bool { return !o.Net }}
	noCopies      = Cond{"no pidfd_getfd", func(o Options) bool { return o.NoCopies }}
	noSignalScope = Cond{"no Landlock signal scope", func(o Options) bool { return !o.SignalScope }}
	noPtraceScope = Cond{"no Landlock", func(o Options) bool { return !o.PtraceScope }}

	// scopedUnix: the kernel itself decides where a datagram may go, whatever
	// address the message carries.
	scopedUnix = Cond{"Landlock scopes Unix sockets", func(o Options) bool { return o.UnixScope && o.AbstractScope }}
	// askedDgram: it does not, but the supervisor is asked for each message.
	askedDgram = Cond{"datagrams mediated", func(o Options) bool {
		return o.Dgram && !(o.UnixScope && o.AbstractScope)
	}}
	flockGuarded = Cond{"a grant lacks flock", func(o Options) bool { return o.Flock || o.Lacking.IsSet(rights.Flock) }}
)

// and holds when both do.
func and(a, b Cond) Cond {
	return Cond{a.Text + ", " + b.Text, func(o Options) bool { return a.Holds(o) && b.Holds(o) }}
}

// or holds when either does.
func or(a, b Cond) Cond {
	return Cond{a.Text + " or " + b.Text, func(o Options) bool { return a.Holds(o) || b.Holds(o) }}
}

// lacks holds when some grant withholds one of list.
func lacks(list ...rights.Right) Cond {
	text := "a grant lacks "
	for i, r := range list {
		if i > 0 {
			text += ","
		}
		text += r.String()
	}
	return Cond{text, func(o Options) bool {
		for _, r := range list {
			if o.Lacking.IsSet(r) {
				return true
			}
		}
		return false
	}}
}
