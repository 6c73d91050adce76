//go:build linux || freebsd

package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// driver makes one form of a call of the table in package rights. Its cases are
// generated: the call unlimited, with exactly what the table asks, and once for
// each bit of that with everything else.
type driver struct {
	op   string   // the table's names for it, separated by blanks
	form string   // what tells it from other forms of op
	when []string // the table's conditions that hold
	// asks says that a filter cannot decide it: a name, an array, or a message is in
	// memory, the call makes a descriptor, or a mapping whose protection may change
	// later. The static form may refuse it.
	asks   bool
	root   bool  // only root may, whatever the rights
	want   *Want // what comes of it when it is permitted; nil is success
	denied *Want // what comes of it when it is not; nil is ENOTCAPABLE
	make   func(t *T) call
	// only names the argument that the conditions are about, where the table has
	// the same words for several; "" is all.
	only string
	// lacks names an argument that the table has and this system's call has not.
	lacks string
}

// call is what a driver has made ready.
type call struct {
	fds map[string]int // by the table's names of arguments
	do  func() error
}

func (d driver) name() string {
	name := "rights/" + strings.Fields(d.op)[0]
	if d.form != "" {
		name += " " + d.form
	}
	return name
}

// needs returns what the table asks of each argument in this form.
func (d driver) needs() map[string]rights.Set {
	op := strings.Fields(d.op)[0]
	list, ok := rights.For(op)
	if !ok {
		panic("the table has no " + op)
	}
	m := map[string]rights.Set{}
	for _, n := range list {
		if n.Arg == d.lacks {
			continue
		}
		if n.When == "" || slices.Contains(d.when, n.When) && (d.only == "" || d.only == n.Arg) {
			m[n.Arg] = m[n.Arg].Union(n.Rights)
		}
	}
	return m
}

// cases generates the cases of d.
func (d driver) cases() []Case {
	permitted, denied := success, notCapable
	if d.want != nil {
		permitted = *d.want
	}
	if d.denied != nil {
		denied = *d.denied
	}
	static, staticDenied := permitted, denied
	if d.asks {
		static, staticDenied = permitted.or(refused), denied.or(refused)
	}
	needs := d.needs()
	list := []Case{
		{Name: d.name() + ": unlimited", In: bare, Want: permitted, Root: d.root, Make: func(t *T) func() error { return d.make(t).do }},
		{Name: d.name() + ": with " + describeNeeds(needs), Want: permitted, Static: &static, Root: d.root, Make: func(t *T) func() error {
			c := d.make(t)
			return func() error {
				for arg, fd := range c.fds {
					if s, ok := needs[arg]; ok || len(needs) == 0 {
						limitSet(fd, s)
					}
				}
				return c.do()
			}
		}},
	}
	for arg, need := range needs {
		for _, bit := range bits(need) {
			list = append(list, Case{
				Name: fmt.Sprintf("%s: %s without %v", d.name(), arg, bit), Want: denied, Static: &staticDenied, Root: d.root,
				Make: func(t *T) func() error {
					c := d.make(t)
					return func() error {
						fd, ok := c.fds[arg]
						if !ok {
							return fmt.Errorf("the driver has no argument %s", arg)
						}
						limitSet(fd, everyRight().Minus(bit))
						return c.do()
					}
				},
			})
		}
	}
	slices.SortFunc(list[2:], func(a, b Case) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// describeNeeds writes {dir: lookup} as "lookup", several as "in read, out write".
func describeNeeds(needs map[string]rights.Set) string {
	var list []string
	for arg, s := range needs {
		text := s.String()
		if len(needs) > 1 {
			text = arg + " " + text
		}
		list = append(list, text)
	}
	slices.Sort(list)
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

// bits returns the sets of one bit that make up s.
func bits(s rights.Set) []rights.Set {
	var list []rights.Set
	words := s.Words()
	empty := rights.Set{}.Words()
	for i := range words {
		for b := uint64(1); b < 1<<57; b <<= 1 {
			if words[i]&b != 0 {
				one := empty
				one[i] |= b
				list = append(list, need(rights.FromWords(one[:])))
			}
		}
	}
	return list
}

func drivers() []driver {
	return slices.Concat(ioDrivers(), nameDrivers(), metadataDrivers(), descriptorDrivers(), socketDrivers(), systemDrivers())
}

func rightsCases() []Case {
	var list []Case
	for _, d := range drivers() {
		list = append(list, d.cases()...)
	}
	return list
}

// TestEveryOperation finds the operations of the table that nothing here tries.
func TestEveryOperation(t *testing.T) {
	tried := map[string]map[string]bool{} // operation → conditions tried
	for _, d := range drivers() {
		for op := range strings.FieldsSeq(d.op) {
			if tried[op] == nil {
				tried[op] = map[string]bool{"": true}
			}
			for _, when := range d.when {
				tried[op][when] = true
			}
		}
	}
	named := map[string]bool{}
	for _, c := range capabilityModeCases() {
		named[c.Name] = true
	}
	for _, op := range rights.Ops() {
		needs, _ := rights.For(op)
		if tried[op] == nil {
			if untried(op) == "" && !named["capability-mode/"+op] {
				t.Errorf("nothing tries %s, and there is no reason why not", op)
			}
			continue
		}
		if reason := untried(op); reason != "" {
			t.Errorf("%s is tried, though it is said that %s", op, reason)
		}
		for _, n := range needs {
			if !tried[op][n.When] && untriedNeeds[op+": "+n.When] == "" {
				t.Errorf("nothing tries %s when %q", op, n.When)
			}
		}
	}
}

// TestDriversNameConditions finds conditions that the table does not have.
func TestDriversNameConditions(t *testing.T) {
	for _, d := range drivers() {
		ops := strings.Fields(d.op)
		for _, op := range ops {
			if _, ok := rights.For(op); !ok {
				t.Errorf("the table has no %s", op)
			}
		}
		// The other names are the same call's, in forms that lack some conditions.
		needs, _ := rights.For(ops[0])
		for _, when := range d.when {
			if !slices.ContainsFunc(needs, func(n rights.Need) bool { return n.When == when }) {
				t.Errorf("the table has no %s when %q", ops[0], when)
			}
		}
	}
}

// untried returns why nothing tries an operation on this system.
func untried(op string) string {
	for _, m := range []map[string]string{untriedOperations, oldUntried} {
		for ops, reason := range m {
			if slices.Contains(strings.Fields(ops), op) {
				return reason
			}
		}
	}
	return ""
}

// onFD is a call on one descriptor.
func onFD(fd int, do func(fd int) error) call {
	return call{fds: map[string]int{"fd": fd}, do: func() error { return do(fd) }}
}

func onFile(do func(fd int) error) func(*T) call {
	return func(t *T) call { return onFD(t.file(), do) }
}

// onDir is a call that names something beneath a new folder.
func onDir(do func(dir int) error) func(*T) call {
	return func(t *T) call {
		dir, _ := t.folder()
		return call{fds: map[string]int{"dir": dir}, do: func() error { return do(dir) }}
	}
}

// onDirs is a call with a name beneath each of two new folders.
func onDirs(do func(from, to int) error) func(*T) call {
	return func(t *T) call {
		from, _ := t.folder()
		to, _ := t.folder()
		return call{fds: map[string]int{"olddir": from, "newdir": to}, do: func() error { return do(from, to) }}
	}
}

// openMode is a driver of openat.
func openMode(form string, flags int, name string, when ...string) driver {
	return driver{op: "openat", form: form, when: when, asks: true, make: onDir(func(dir int) error {
		_, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0o600)
		return err
	})}
}

// The table's conditions of opens.
const (
	whenRead   = "O_RDONLY, O_RDWR, or O_PATH, without O_EXEC"
	whenWrite  = "O_WRONLY or O_RDWR, without O_EXEC and O_PATH"
	whenSeek   = "O_WRONLY or O_RDWR, without O_EXEC, O_PATH, O_APPEND and O_TRUNC"
	whenCreate = "O_CREAT or O_TMPFILE"
	whenTrunc  = "O_TRUNC"
	whenSync   = "O_SYNC or O_DSYNC"
)

func ioDrivers() []driver {
	buf := func() []byte { return make([]byte, 4) }
	return []driver{
		{op: "read", make: onFile(read)},
		{op: "write", make: onFile(write)},
		{op: "write", form: "of nothing", make: onFile(func(fd int) error { _, err := unix.Write(fd, nil); return err })},
		{op: "pread", make: onFile(func(fd int) error { _, err := unix.Pread(fd, buf(), 0); return err })},
		{op: "pwrite", make: onFile(func(fd int) error { _, err := unix.Pwrite(fd, buf(), 0); return err })},
		{op: "lseek", make: onFile(seek)},
		{op: "fsync", make: onFile(unix.Fsync)},
		{op: "ftruncate", make: onFile(func(fd int) error { return unix.Ftruncate(fd, 100) })},
		mapping("PROT_NONE", unix.PROT_NONE, unix.MAP_SHARED),
		mapping("to read", unix.PROT_READ, unix.MAP_SHARED, "PROT_READ"),
		mapping("to write", unix.PROT_WRITE, unix.MAP_SHARED, "PROT_WRITE and MAP_SHARED"),
		mapping("to execute", unix.PROT_EXEC, unix.MAP_SHARED, "PROT_EXEC"),
		mapping("to read and write", unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, "PROT_READ", "PROT_WRITE and MAP_SHARED"),
		mapping("everything", unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_SHARED, "PROT_READ", "PROT_WRITE and MAP_SHARED", "PROT_EXEC"),
		mapping("to read and write privately", unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE, "PROT_READ"),
	}
}

func mapping(form string, prot, flags int, when ...string) driver {
	return driver{op: "mmap", form: form, when: append(when, "not MAP_ANONYMOUS"), asks: true, make: onFile(func(fd int) error {
		m, err := unix.Mmap(fd, 0, 4096, prot, flags)
		if err != nil {
			return err
		}
		return unix.Munmap(m)
	})}
}

func nameDrivers() []driver {
	var st unix.Stat_t
	return []driver{
		openMode("to read", unix.O_RDONLY, "file", whenRead),
		openMode("to write", unix.O_WRONLY, "file", whenWrite, whenSeek),
		openMode("to read and write", unix.O_RDWR, "file", whenRead, whenWrite, whenSeek),
		openMode("to append", unix.O_WRONLY|unix.O_APPEND, "file", whenWrite),
		openMode("to create", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, "new", whenWrite, whenSeek, whenCreate),
		openMode("to truncate", unix.O_WRONLY|unix.O_TRUNC, "file", whenWrite, whenTrunc),
		openMode("to read, truncated", unix.O_RDONLY|unix.O_TRUNC, "file", whenRead, whenTrunc),
		openMode("to write in sync", unix.O_WRONLY|unix.O_SYNC, "file", whenWrite, whenSeek, whenSync),
		openMode("a directory", unix.O_RDONLY|unix.O_DIRECTORY, "sub", whenRead),
		{op: "readlinkat", asks: true, make: onDir(func(dir int) error {
			_, err := unix.Readlinkat(dir, "near", make([]byte, 100))
			return err
		})},
		{op: "fstatat", form: "a name", when: []string{"the path is not empty"}, asks: true,
			make: onDir(func(dir int) error { return unix.Fstatat(dir, "file", &st, 0) })},
		{op: "faccessat", form: "a name", when: []string{"the path is not empty"}, asks: true,
			make: onDir(func(dir int) error { return unix.Faccessat(dir, "file", unix.R_OK, 0) })},
		{op: "fchmodat", asks: true, make: onDir(func(dir int) error { return unix.Fchmodat(dir, "file", 0o640, 0) })},
		{op: "fchownat", asks: true, make: onDir(func(dir int) error { return unix.Fchownat(dir, "file", unix.Geteuid(), unix.Getegid(), 0) })},
		{op: "utimensat", form: "a name", when: []string{"a path is given"}, asks: true,
			make: onDir(func(dir int) error { return unix.UtimesNanoAt(dir, "file", make([]unix.Timespec, 2), 0) })},
		{op: "mkdirat", asks: true, make: onDir(func(dir int) error { return unix.Mkdirat(dir, "new", 0o700) })},
		{op: "symlinkat", asks: true, make: onDir(func(dir int) error { return unix.Symlinkat("/anything", dir, "new") })},
		{op: "unlinkat", form: "a file", asks: true, make: onDir(func(dir int) error { return unix.Unlinkat(dir, "file", 0) })},
		{op: "unlinkat", form: "a directory", asks: true, make: onDir(func(dir int) error { return unix.Unlinkat(dir, "sub/deep", unix.AT_REMOVEDIR) })},
		{op: "linkat", asks: true, make: onDirs(func(from, to int) error { return unix.Linkat(from, "file", to, "new", 0) })},
		{op: "renameat", form: "to a new name", asks: true,
			make: onDirs(func(from, to int) error { return unix.Renameat(from, "file", to, "new") })},
		{op: "renameat", form: "over a file", when: []string{"the new name exists"}, asks: true,
			make: onDirs(func(from, to int) error { return unix.Renameat(from, "file", to, "file") })},
		{op: "fchdir", make: onDirAsFD(unix.Fchdir)},
	}
}

// onDirAsFD is a call on the descriptor of a directory itself.
func onDirAsFD(do func(fd int) error) func(*T) call {
	return func(t *T) call {
		dir, _ := t.folder()
		return onFD(dir, do)
	}
}

func metadataDrivers() []driver {
	return []driver{
		{op: "fstat", make: onFile(fstat)},
		{op: "fstatfs", make: onFile(func(fd int) error { return unix.Fstatfs(fd, new(unix.Statfs_t)) })},
		{op: "fchmod", make: onFile(func(fd int) error { return unix.Fchmod(fd, 0o640) })},
		{op: "fchown", make: onFile(func(fd int) error { return unix.Fchown(fd, unix.Geteuid(), unix.Getegid()) })},
	}
}

// whenMask is the condition of the fcntl commands that a mask governs.
const (
	whenMask  = "F_GETFL, F_SETFL, F_GETOWN, F_SETOWN, or the _EX forms"
	whenLocks = "F_GETLK, F_SETLK, F_SETLKW, or the OFD forms"
)

// control is a driver of an fcntl command with a number.
func control(form string, cmd, arg int, when string, fd func(t *T) int) driver {
	return driver{op: "fcntl", form: form, when: []string{when}, make: func(t *T) call {
		return onFD(fd(t), func(fd int) error {
			_, err := unix.FcntlInt(uintptr(fd), cmd, arg)
			return err
		})
	}}
}

// lock is a driver of an fcntl command on a record lock.
func lock(form string, cmd int) driver {
	return driver{op: "fcntl", form: form, when: []string{whenLocks}, make: onFile(func(fd int) error {
		return unix.FcntlFlock(uintptr(fd), cmd, &unix.Flock_t{Type: unix.F_WRLCK, Len: 1})
	})}
}

func descriptorDrivers() []driver {
	return []driver{
		{op: "dup", asks: true, make: onFile(func(fd int) error { _, err := unix.Dup(fd); return err })},
		{op: "dup2", asks: true, make: onFile(func(fd int) error { return dup2(fd, 200+fd) })},
		{op: "close", make: onFile(unix.Close)},
		{op: "mprotect", make: func(t *T) call {
			fd := t.file()
			m := need(unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE))
			return onFD(fd, func(int) error { return unix.Mprotect(m, unix.PROT_READ|unix.PROT_WRITE) })
		}},
		{op: "flock", make: onFile(func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })},
		control("F_GETFL", unix.F_GETFL, 0, whenMask, (*T).file),
		control("F_SETFL", unix.F_SETFL, unix.O_NONBLOCK, whenMask, (*T).file),
		control("F_GETOWN", unix.F_GETOWN, 0, whenMask, readEnd),
		control("F_SETOWN", unix.F_SETOWN, unix.Getpid(), whenMask, aSocket),
		lock("F_GETLK", unix.F_GETLK),
		lock("F_SETLK", unix.F_SETLK),
		lock("F_SETLKW", unix.F_SETLKW),
		{op: "ioctl", make: func(t *T) call { return onFD(readEnd(t), fionread) }},
		{op: "poll", asks: true, denied: &pollDenied, make: func(t *T) call { return onFD(readEnd(t), pollOne) }},
		{op: "select", asks: true, make: func(t *T) call { return onFD(readEnd(t), selectOne) }},
	}
}

// readEnd is a pipe that has something to be read.
func readEnd(t *T) int {
	r, _ := t.pipe()
	return r
}

// writeEnd is a pipe that can be written to.
func writeEnd(t *T) int {
	_, w := t.pipe()
	return w
}

// aSocket is one that has a peer, and something to be received.
func aSocket(t *T) int {
	a, _ := t.pair(unix.SOCK_STREAM)
	return a
}

func fionread(fd int) error {
	n, err := unix.IoctlGetInt(fd, fionreadCommand)
	if err == nil && n != 10 {
		return fmt.Errorf("FIONREAD says %d, want 10", n)
	}
	return err
}

// errInvalidPoll is what pollOne makes of POLLNVAL.
var (
	errInvalidPoll = fmt.Errorf("the descriptor got POLLNVAL")
	pollDenied     = Want{errs: []error{errInvalidPoll}}
)

// pollOne polls fd, which has something to be read.
func pollOne(fd int) error {
	list := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(list, 0)
	return pollResult(n, err, list[0].Revents)
}

func pollResult(n int, err error, got int16) error {
	switch {
	case err != nil:
		return err
	case n == 1 && got == unix.POLLNVAL:
		return errInvalidPoll
	case n != 1 || got&unix.POLLIN == 0:
		return fmt.Errorf("poll says %d, %#x", n, got)
	}
	return nil
}

func selectOne(fd int) error {
	var set unix.FdSet
	set.Set(fd)
	n, err := unix.Select(fd+1, &set, nil, nil, &unix.Timeval{})
	if err == nil && n != 1 {
		return fmt.Errorf("select says %d, want 1", n)
	}
	return err
}

// onSocket is a call on a socket that make opens.
func onSocket(open func(t *T) int, do func(fd int) error) func(*T) call {
	return func(t *T) call {
		fd := open(t)
		return call{fds: map[string]int{"socket": fd}, do: func() error { return do(fd) }}
	}
}

// inet returns a new TCP socket.
func inet(*T) int { return need(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)) }

// listener returns a TCP socket that listens, with a connection to be accepted.
func listener(t *T) int {
	fd := inet(t)
	stop("bind", unix.Bind(fd, loopback(0)))
	stop("listen", unix.Listen(fd, 5))
	stop("connect", unix.Connect(inet(t), need(unix.Getsockname(fd))))
	return fd
}

func loopback(port int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}
}

// datagram returns a UDP socket that is bound.
func datagram() int {
	fd := need(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
	stop("bind", unix.Bind(fd, loopback(0)))
	return fd
}

// addressed is a driver that sends to an address.
func addressed(op string, asks bool, send func(fd int, to unix.Sockaddr) error) driver {
	return driver{op: op, form: "with an address", when: []string{"an address is given"}, asks: asks, make: func(t *T) call {
		from, to := datagram(), need(unix.Getsockname(datagram()))
		return call{fds: map[string]int{"socket": from}, do: func() error { return send(from, to) }}
	}}
}

func socketDrivers() []driver {
	return []driver{
		{op: "accept", asks: true, make: onSocket(listener, func(fd int) error { _, err := acceptOne(fd); return err })},
		{op: "bind", make: onSocket(inet, func(fd int) error { return unix.Bind(fd, loopback(0)) })},
		{op: "connect", make: func(t *T) call {
			to := need(unix.Getsockname(listener(t)))
			return onSocket(inet, func(fd int) error { return unix.Connect(fd, to) })(t)
		}},
		{op: "listen", make: onSocket(inet, func(fd int) error { return unix.Listen(fd, 1) })},
		{op: "shutdown", make: onSocket(aSocket, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })},
		{op: "getpeername", make: onSocket(aSocket, func(fd int) error { _, err := unix.Getpeername(fd); return err })},
		{op: "getsockname", make: onSocket(aSocket, func(fd int) error { _, err := unix.Getsockname(fd); return err })},
		{op: "getsockopt", make: onSocket(aSocket, func(fd int) error {
			_, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
			return err
		})},
		{op: "setsockopt", make: onSocket(aSocket, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		})},
		{op: "sendto send", form: "without an address", make: onSocket(aSocket, sendPlain)},
		addressed("sendto", false, func(fd int, to unix.Sockaddr) error { return unix.Sendto(fd, []byte("x"), 0, to) }),
		{op: "sendmsg", form: "without an address", asks: true, make: onSocket(aSocket, func(fd int) error {
			return unix.Sendmsg(fd, []byte("x"), nil, nil, 0)
		})},
		addressed("sendmsg", true, func(fd int, to unix.Sockaddr) error { return unix.Sendmsg(fd, []byte("x"), nil, to, 0) }),
		{op: "recvfrom recv", make: onSocket(aSocket, func(fd int) error {
			_, _, err := unix.Recvfrom(fd, make([]byte, 4), 0)
			return err
		})},
		{op: "recvmsg", asks: true, make: onSocket(aSocket, func(fd int) error {
			_, _, _, _, err := unix.Recvmsg(fd, make([]byte, 4), make([]byte, 64), 0)
			return err
		})},
	}
}

func sendPlain(fd int) error { return unix.Send(fd, []byte("x"), 0) }
