package resolve

import (
	"errors"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/rights"
)

// Origins of what nobody had to ask for.
const (
	deviceOrigin  = "dev"
	procOrigin    = "proc"
	programOrigin = "program"
)

// tmpRights are those on a private directory: anything that can be met there
// was put there by the sandbox, sockets too.
func tmpRights() rights.Set { return policy.RWX.Union(rights.Of(rights.Connectat)) }

// deviceRights have no right over the node itself: root's /dev/null is
// everybody's.
func deviceRights() rights.Set {
	return rights.Of(rights.Lookup, rights.Read, rights.Write, rights.Seek, rights.Fstat, rights.Fstatfs,
		rights.Fpathconf, rights.MmapRW, rights.Fcntl, rights.Event, rights.Ioctl, rights.Ftruncate, rights.Fsync,
		rights.Flock, rights.InotifyAdd, rights.InotifyRm)
}

// devices are what every program may expect in /dev.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// tmp adds --tmp.
func (b *builder) tmp() error {
	if !b.policy.Tmp {
		return nil
	}
	return b.put(&plan.Entry{Dest: "/tmp", Kind: plan.Tmpfs, Rights: tmpRights(), Origin: []string{"--tmp"}})
}

// proc adds the sandbox's own /proc. Without one, a grant of "/" would show the
// host's, which nobody can grant: it is covered.
func (b *builder) proc() error {
	if b.policy.Proc {
		// Reading only: in a user namespace of root's, the files beneath /proc/sys
		// belong to the real root and would take what is written.
		b.yield(plan.Entry{Dest: "/proc", Kind: plan.Proc, Rights: policy.RO, Origin: []string{procOrigin}})
		return nil
	}
	if b.root.entry == nil {
		return nil
	}
	obj, _, err := b.w.walk(path.Join(b.root.entry.Source, "proc"))
	if errors.Is(err, ErrProcfs) {
		b.yield(plan.Entry{Dest: "/proc", Kind: plan.Tmpfs, Rights: policy.RO, Origin: []string{"--no-proc"}})
	} else if err == nil {
		obj.close()
	}
	return nil
}

// yield adds an entry unless a grant has its name.
func (b *builder) yield(e plan.Entry) {
	if n := b.root.at(e.Dest); n.entry == nil && n.link == nil {
		n.entry = &e
	}
}

// granted returns the entry at a name, if there is one.
func (b *builder) granted(name string) *plan.Entry {
	n := b.root
	for _, c := range components(name) {
		if n = n.kid(c); n == nil {
			return nil
		}
	}
	return n.entry
}

// device adds the minimal /dev. Who grants /dev itself gets the host's, with
// only the usual devices in working order.
func (b *builder) device() error {
	if !b.policy.Dev {
		return nil
	}
	// Another tree shown as "/" has a /dev, but no devices to show ours at.
	if outer := b.root.entry; outer != nil && outer.Source != "/" {
		b.yield(plan.Entry{Dest: "/dev", Kind: plan.Tmpfs, Rights: policy.RW, Origin: []string{deviceOrigin}})
	}
	for _, name := range devices {
		if err := b.addDevice("/dev/"+name, "/dev/"+name); err != nil {
			return err
		}
	}
	if b.policy.Pty {
		b.yield(plan.Entry{Dest: "/dev/pts", Kind: plan.Devpts, Rights: policy.RW, Origin: []string{"--pty"}})
		b.devLink("ptmx", "pts/ptmx")
	}
	if err := b.terminal(); err != nil {
		return err
	}
	if own := b.granted("/dev"); own == nil || own.Kind == plan.Tmpfs {
		b.yield(plan.Entry{Dest: "/dev/shm", Kind: plan.Tmpfs, Rights: policy.RW, Origin: []string{deviceOrigin}})
	}
	if b.policy.Proc {
		b.devLink("fd", "/proc/self/fd")
		for i, name := range []string{"stdin", "stdout", "stderr"} {
			b.devLink(name, "/proc/self/fd/"+strconv.Itoa(i))
		}
	}
	return nil
}

// terminal gives the terminal that the program holds already its name, so that
// ttyname(3) and who opens it again find it. Beside terminals of the sandbox's
// own, whose directory would hide it, it is the console.
func (b *builder) terminal() error {
	switch name := b.host.Tty; {
	case name == "":
		return nil
	case b.policy.Pty:
		return b.addDevice(name, "/dev/console")
	default:
		return b.addDevice(name, name)
	}
}

// addDevice shows one device, if this machine has it, as dest.
func (b *builder) addDevice(name, dest string) error {
	obj, _, err := b.w.walk(name)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return failed(deviceOrigin, err, "leave devices out with --no-dev")
	}
	obj.close()
	if obj.path != name || obj.mode&unix.S_IFMT != unix.S_IFCHR {
		return &Error{Flag: deviceOrigin, Path: name, Err: unix.ENODEV, Hint: "it is no device on this machine; leave devices out with --no-dev", Exit: ExitSetup}
	}
	if at := b.granted(dest); at != nil && at.Source != obj.path {
		return nil
	}
	return b.add(dest, obj, deviceRights(), deviceOrigin)
}

func (b *builder) devLink(name, target string) {
	full := "/dev/" + name
	if n := b.root.at(full); n.entry == nil && n.link == nil && len(n.kids) == 0 {
		n.link = &plan.Link{Path: full, Target: target, Origin: deviceOrigin}
	}
}
