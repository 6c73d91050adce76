package capmode

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/slot"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

func (w *Warden) requestAnswers() []answer {
	return []answer{{[]string{supervisor.RequestName}, requested}}
}

// requests are what a process may ask for, by the operation in argument 0.
var requests = sync.OnceValue(func() map[request.Op]handler {
	return map[request.Op]handler{
		request.Supervisor:  func(c *call) supervisor.Result { return supervisor.Value(int64(c.Self())) },
		request.Enter:       enter,
		request.LimitRights: limitRights,
		request.Rights:      getRights,
		request.LimitIoctls: limitIoctls,
		request.Ioctls:      getIoctls,
		request.LimitFcntls: limitFcntls,
		request.Fcntls:      getFcntls,
		request.Stacked:     stacked,
		request.Pdgetpid:    pdgetpid,
		request.Pdkill:      pdkill,
		request.Pdmark:      pdmark,
		request.Pdwait:      pdwait,
		request.Pdalive:     pdalive,
	}
})

func requested(c *call) supervisor.Result {
	h, ok := requests()[request.Op(c.Arg(0))]
	if !ok {
		return supervisor.Errno(unix.EINVAL)
	}
	return h(c)
}

// held looks at the caller's descriptor fd: its rights, and a copy of it. A slot
// that another file came into unseen is none any more. The caller holds the lock of
// t and closes the copy.
func (c *call) held(t *fdtable.Table, fd int32) (*sys.FD, filecaps.Caps, error) {
	s, limited := t.Slot(int(fd))
	copied, err := c.copyOf(fd)
	if errors.Is(err, unix.EACCES) && s.Parked {
		err = unix.EBADF
	}
	if err != nil {
		return nil, filecaps.Caps{}, err
	}
	if !limited {
		return copied, filecaps.Full(), nil
	}
	id, err := identify(copied)
	if err != nil {
		copied.Close()
		return nil, filecaps.Caps{}, err
	}
	if c.w.left(s, id, copied) {
		t.Drop(int(fd))
		return copied, filecaps.Full(), nil
	}
	if s.Parked {
		copied.Close()
		return nil, filecaps.Caps{}, unix.EBADF
	}
	return copied, s.Caps, nil
}

// left reports whether what slot s is about is no more under its number: f is, which is
// known by id. A slot about the dead descriptor alone is about no file whose number could
// have changed; one of a child that may have been forked before is about that file too.
func (w *Warden) left(s fdtable.Slot, id fdtable.ID, f *sys.FD) bool {
	return !s.Holds(id) && (s.ID == w.deadID && len(s.Also) == 0 || lasting(f))
}

// limited is [call.held] of what is limited, without a copy of anything else.
func (c *call) limited(t *fdtable.Table, fd int32) (*sys.FD, filecaps.Caps, error) {
	if _, noted := t.Slot(int(fd)); !noted {
		return nil, filecaps.Full(), nil
	}
	f, caps, err := c.held(t, fd)
	if err == nil && caps.IsFull() {
		return nil, caps, f.Close()
	}
	return f, caps, err
}

// lastingNumbers are file systems on which the number of an open file's inode stays,
// by the type that statfs tells. Elsewhere another number need not be another file: an
// overlay has the one of its upper layer from the first write on, and the server of a
// FUSE or network file system says what it likes.
var lastingNumbers = []uint32{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC,
	unix.HUGETLBFS_MAGIC, unix.MSDOS_SUPER_MAGIC, unix.ISOFS_SUPER_MAGIC, unix.SQUASHFS_MAGIC, unix.SOCKFS_MAGIC, unix.PIPEFS_MAGIC,
	unix.ANON_INODE_FS_MAGIC, unix.PID_FS_MAGIC, unix.NSFS_MAGIC, unix.DEVPTS_SUPER_MAGIC, unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC,
	unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, mqueueMagic,
}

const mqueueMagic = 0x19800202

func lasting(f *sys.FD) bool {
	var st unix.Statfs_t
	err := sys.Retry(func() error { return unix.Fstatfs(f.Int(), &st) })
	return err == nil && slices.Contains(lastingNumbers, uint32(st.Type))
}

// identify tells an open file from others. It asks no server of a file system, which may
// never answer.
func identify(fd *sys.FD) (fdtable.ID, error) {
	var st unix.Statx_t
	err := unix.Statx(fd.Int(), "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_TYPE, &st)
	if err != nil {
		return fdtable.ID{}, err
	}
	// The access mode only: status flags change.
	flags, err := unix.FcntlInt(uintptr(fd.Int()), unix.F_GETFL, 0)
	return fdtable.ID{
		Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino, Flags: uint32(flags & unix.O_ACCMODE), Type: uint32(st.Mode & unix.S_IFMT),
	}, err
}

// narrow is the common part of the three limits. When what the descriptor lost would
// still pass in the kernel, it answers with a filter, which the process then stacks
// and says so. The limit is noted before, so that no copy can be made with more.
func (c *call) narrow(by func(filecaps.Caps) (filecaps.Caps, error)) supervisor.Result {
	fd := c.Fd(1)
	t := c.soleTable()
	defer t.Unlock()
	f, before, err := c.held(t, fd)
	if err != nil {
		return fail(err)
	}
	defer func() { f.Close() }()
	after, err := by(before)
	if err != nil {
		return fail(err)
	}
	after = withoutSocket(f, after)
	fits := t.Fits(int(fd), after)
	if !fits && t.Shared() {
		// A filter of this process says nothing about the others.
		return supervisor.Errno(unix.EBUSY)
	}
	if f, err = c.readOnlyMemory(t, int(fd), f, before, after); err != nil {
		return fail(err)
	}
	id, err := identify(f)
	if err != nil {
		return fail(err)
	}
	s := fdtable.Slot{Caps: after, ID: id}
	if fits {
		t.Put(int(fd), s)
		return supervisor.Value(0)
	}
	s.Pending, s.Before = true, before
	if old, ok := t.Slot(int(fd)); ok && old.Pending {
		s.Before = old.Before
	}
	prog, err := c.w.filters.descriptor(int(fd), after, t.Mode(), readOnly(f))
	return c.giveFilter(4, prog, err, func() { t.Put(int(fd), s) })
}

// enter puts the process into capability mode for the supervisor, and answers with
// the filter that does for the kernel.
func enter(c *call) supervisor.Result {
	prog, err := slot.CapabilityMode(sysno.Native)
	filters := 0
	if err == nil {
		filters, err = c.Filters()
	}
	return c.giveFilter(2, prog, err, func() {
		if c.Arg(1) == 1 && !c.p.table.Mode() {
			c.p.table.Bind()
		}
		c.p.table.Enter(filters)
	})
}

// giveFilter writes a filter to where argument arg points, notes what it is for, and
// answers its length.
func (c *call) giveFilter(arg int, prog []cbpf.Instruction, err error, note func()) supervisor.Result {
	if err == nil {
		err = c.Write(c.Arg(arg), cbpf.Bytes(prog))
	}
	if err != nil {
		return fail(err)
	}
	note()
	return supervisor.Value(int64(len(prog)))
}

func limitRights(c *call) supervisor.Result {
	words := []uint64{c.Arg(2), c.Arg(3)}
	return c.narrow(func(caps filecaps.Caps) (filecaps.Caps, error) {
		set, err := rights.FromWords(words)
		if err != nil {
			return caps, unix.EINVAL
		}
		return caps.LimitRights(set)
	})
}

func limitIoctls(c *call) supervisor.Result {
	n := c.Arg(3)
	if n > filecaps.MaxIoctls {
		return supervisor.Errno(unix.EINVAL)
	}
	raw, err := c.Bytes(c.Arg(2), int(n)*4)
	if err != nil {
		return fail(err)
	}
	cmds := make([]uint32, n)
	for i := range cmds {
		cmds[i] = binary.NativeEndian.Uint32(raw[4*i:])
	}
	return c.narrow(func(caps filecaps.Caps) (filecaps.Caps, error) { return caps.LimitIoctls(cmds) })
}

func limitFcntls(c *call) supervisor.Result {
	mask := c.Arg(2)
	if mask > uint64(^uint32(0)) {
		return supervisor.Errno(unix.EINVAL)
	}
	return c.narrow(func(caps filecaps.Caps) (filecaps.Caps, error) { return caps.LimitFcntls(rights.Fcntls(mask)) })
}

// stacked says that the process has stacked a filter for all that number fd has
// lost.
func stacked(c *call) supervisor.Result {
	fd := int(c.Fd(1))
	t := c.table()
	defer t.Unlock()
	s, ok := t.Slot(fd)
	if !ok || !s.Pending {
		return supervisor.Errno(unix.EINVAL)
	}
	t.Stack(fd, s.Caps)
	s.Pending = false
	t.Put(fd, s)
	return supervisor.Value(0)
}

// caps returns what descriptor argument 1 permits. A limit whose filter is not
// stacked yet has not happened: a child that is forked now would not have it.
func (c *call) caps() (filecaps.Caps, error) {
	t := c.table()
	defer t.Unlock()
	f, caps, err := c.held(t, c.Fd(1))
	if err != nil {
		return caps, err
	}
	if s, ok := t.Slot(int(c.Fd(1))); ok && s.Pending {
		caps = s.Before
	}
	return caps, f.Close()
}

func getRights(c *call) supervisor.Result {
	caps, err := c.caps()
	if err != nil {
		return fail(err)
	}
	var raw []byte
	for _, word := range caps.Rights.Words() {
		raw = binary.NativeEndian.AppendUint64(raw, word)
	}
	return fail(c.Write(c.Arg(2), raw))
}

// getIoctls answers how many commands are permitted, and stores as many of them as
// there is room for.
func getIoctls(c *call) supervisor.Result {
	caps, err := c.caps()
	if err != nil {
		return fail(err)
	}
	if !caps.Listed {
		return supervisor.Value(request.AllIoctls)
	}
	var raw []byte
	for _, cmd := range caps.Ioctls[:min(uint64(len(caps.Ioctls)), c.Arg(3))] {
		raw = binary.NativeEndian.AppendUint32(raw, cmd)
	}
	if err := c.Write(c.Arg(2), raw); err != nil {
		return fail(err)
	}
	return supervisor.Value(int64(len(caps.Ioctls)))
}

func getFcntls(c *call) supervisor.Result {
	caps, err := c.caps()
	if err != nil {
		return fail(err)
	}
	return supervisor.Value(int64(caps.Fcntls))
}
