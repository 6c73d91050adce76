package static

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

var one = make([]byte, 1)

func pread(fd int) error { _, err := unix.Pread(fd, make([]byte, 1), 0); return err }
func fstat(fd int) error { return unix.Fstat(fd, new(unix.Stat_t)) }

// cases are run each in a new process, in an empty directory.
var cases map[string]func(*check)

func init() {
	cases = map[string]func(*check){
		"limit": limitCase, "order": orderCase, "lists": listsCase, "mappings": mappingsCase, "copies": copiesCase, "lookups": lookupsCase,
		"enter": enterCase, "afterwards": afterwardsCase, "threads": threadsCase, "runtime": runtimeCase, "io": ioCase,
		"exec": execCase, "bare": bareCase, "chroot": chrootCase, "no more": noMoreCase, "many": manyCase, "both": bothCase,
		"few": fewCase, "closed": closedCase,
		"rings are not told":       func(c *check) { notTold(c, unix.EIO, unix.EIO) },
		"rings are told by no one": func(c *check) { notTold(c, unix.ENOSYS, unix.EIO) },
	}
}

func limitCase(c *check) {
	fd := c.file(unix.O_RDWR)
	calls := map[string]func() error{
		"read": func() error { _, err := unix.Read(fd, one); return err }, "pread": func() error { return pread(fd) },
		"fstat": func() error { return fstat(fd) }, "lseek": func() error { _, err := unix.Seek(fd, 0, 0); return err },
		"write": func() error { _, err := unix.Write(fd, one); return err }, "fsync": func() error { return unix.Fsync(fd) },
		"flock": func() error { return unix.Flock(fd, unix.LOCK_SH) }, "fchmod": func() error { return unix.Fchmod(fd, 0o600) },
		"ftruncate": func() error { return unix.Ftruncate(fd, 5) },
		"fcntl":     func() error { _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); return err },
	}
	s, err := Rights(fd)
	c.is("rights", err, nil)
	if s != rights.All() {
		c.failf("an unlimited descriptor has %v", s)
	}
	for name, call := range calls {
		c.is(name+" before", call(), nil)
	}
	_, err = unix.Seek(fd, 0, 0)
	c.is("rewind", err, nil)
	have := rights.Of(rights.Read, rights.Fstat)
	c.is("limit", LimitRights(fd, have), nil)
	for name, call := range calls {
		var want error = eN
		if name == "read" || name == "fstat" {
			want = nil
		}
		c.is(name+" after", call(), want)
	}
	c.is("a process that shares the table", sharing(), eN)
	if s, err = Rights(fd); err != nil || s != have {
		c.failf("rights: %v, %v", s, err)
	}
	twin, err := unix.Open("file", unix.O_RDONLY, 0)
	c.is("another descriptor", err, nil)
	c.is("its pread", pread(twin), nil)
}

func orderCase(c *check) {
	fd := c.file(unix.O_RDONLY)
	wrong, err := rights.FromWords([]uint64{1<<57 | 1<<56, 1 << 58})
	c.must("make rights", err)
	c.is("unknown rights of no descriptor", LimitRights(999, wrong), unix.EINVAL)
	c.is("no descriptor", LimitRights(999, rights.Of(rights.Read)), unix.EBADF)
	c.is("negative", LimitRights(-1, rights.Of(rights.Read)), unix.EBADF)
	c.is("huge", LimitRights(1<<33, rights.Of(rights.Read)), unix.EBADF)
	c.is("limit", LimitRights(fd, rights.Of(rights.Read)), nil)
	c.is("widen", LimitRights(fd, rights.Of(rights.Read, rights.Write)), eN)
	c.is("widen by parts", LimitRights(fd, rights.Of(rights.Pread)), eN)
	c.is("unknown mask of no descriptor", LimitFcntls(999, 1), unix.EINVAL)
	c.is("mask of no descriptor", LimitFcntls(999, 0), unix.EBADF)
	c.is("mask without fcntl", LimitFcntls(fd, rights.FcntlGetfl), eN)
	c.is("no mask without fcntl", LimitFcntls(fd, 0), nil)
	c.is("too long a list", LimitIoctls(999, make([]uint32, 257)), unix.EINVAL)
	c.is("list of no descriptor", LimitIoctls(999, nil), unix.EBADF)
	c.is("list without ioctl", LimitIoctls(fd, []uint32{unix.TCGETS}), eN)
	c.is("no list without ioctl", LimitIoctls(fd, nil), nil)
	_, err = Rights(999)
	c.is("rights of no descriptor", err, unix.EBADF)
	_, err = Fcntls(999)
	c.is("mask of no descriptor", err, unix.EBADF)
	_, _, err = Ioctls(999)
	c.is("list of no descriptor", err, unix.EBADF)
	c.is("pread without right", pread(fd), eN)
	c.is("close", unix.Close(fd), nil)
	c.is("rights of what was closed", LimitRights(fd, rights.Of(rights.Read)), unix.EBADF)
}

func listsCase(c *check) {
	var p [2]int
	c.must("pipe", unix.Pipe2(p[:], unix.O_CLOEXEC))
	fd := p[0]
	available := func() error { _, err := unix.IoctlGetInt(fd, 0x541b); return err }
	flags := func() error { _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); return err }
	owner := func() error { _, err := unix.FcntlInt(uintptr(fd), unix.F_GETOWN, 0); return err }
	c.is("ioctl before", available(), nil)
	c.is("fcntl before", flags(), nil)
	c.is("limit ioctls", LimitIoctls(fd, []uint32{0x541b, 0x5451}), nil)
	c.is("listed ioctl", available(), nil)
	c.is("other ioctl", unix.IoctlSetInt(fd, 0x5450, 0), eN) // FIONCLEX
	s, err := Rights(fd)
	if err != nil || s != rights.All() {
		c.failf("a list takes rights: %v, %v", s, err)
	}
	list, limited, err := Ioctls(fd)
	if err != nil || !limited || !slices.Equal(list, []uint32{0x541b, 0x5451}) {
		c.failf("list: %x, %v, %v", list, limited, err)
	}
	c.is("widen ioctls", LimitIoctls(fd, []uint32{0x5450}), eN)
	c.is("longer list", LimitIoctls(fd, []uint32{0x541b, 0x541b, 0x541b}), eN)
	c.is("limit fcntls", LimitFcntls(fd, rights.FcntlGetfl), nil)
	c.is("fcntl in the mask", flags(), nil)
	c.is("fcntl not in the mask", owner(), eN)
	c.is("widen fcntls", LimitFcntls(fd, rights.FcntlAll), eN)
	mask, err := Fcntls(fd)
	if err != nil || mask != rights.FcntlGetfl {
		c.failf("mask %#x, %v", mask, err)
	}
	c.is("drop ioctl", LimitRights(fd, rights.Of(rights.Read, rights.Fcntl)), nil)
	c.is("ioctl without right", available(), eN)
	if list, limited, err = Ioctls(fd); err != nil || !limited || len(list) != 0 {
		c.failf("list without right: %x, %v, %v", list, limited, err)
	}
	if mask, err = Fcntls(fd); err != nil || mask != rights.FcntlGetfl {
		c.failf("mask after another limit: %#x, %v", mask, err)
	}
	c.is("drop fcntl", LimitRights(fd, rights.Of(rights.Read)), nil)
	if mask, err = Fcntls(fd); err != nil || mask != 0 {
		c.failf("mask without right: %#x, %v", mask, err)
	}
	list, limited, err = Ioctls(p[1])
	if err != nil || limited || list != nil {
		c.failf("the other end: %x, %v, %v", list, limited, err)
	}
}

func mappingsCase(c *check) {
	readable, writable := c.file(unix.O_RDONLY), c.file(unix.O_RDWR)
	shared := func(fd, prot int) error {
		_, err := unix.Mmap(fd, 0, 4096, prot, unix.MAP_SHARED)
		return err
	}
	s := rights.Of(rights.MmapR)
	c.is("map before", shared(writable, unix.PROT_READ|unix.PROT_WRITE), nil)
	c.is("limit readable", LimitRights(readable, s), nil)
	c.is("limit writable", LimitRights(writable, s), nil)
	c.is("a file open for reading", shared(readable, unix.PROT_READ), nil)
	before := c.filters()
	c.is("limit readable again", LimitRights(readable, s), nil)
	if after := c.filters(); after != before {
		c.failf("a limit that changes nothing adds filters: %d, then %d", before, after)
	}
	c.is("a file open for reading, limited again", shared(readable, unix.PROT_READ), nil)
	c.is("limit writable again", LimitRights(writable, s), nil)
	c.is("shared memory that mprotect could make writable", shared(writable, unix.PROT_READ), eN)
	_, err := unix.Mmap(writable, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	c.is("private memory", err, nil)
	_, err = unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	c.is("anonymous memory", err, nil)
	// The number now means a file that can be written; nothing else changes.
	c.is("replace", unix.Dup3(c.file(unix.O_RDWR), readable, 0), nil)
	c.is("limit again", LimitRights(readable, s), nil)
	c.is("shared memory of the file that came", shared(readable, unix.PROT_READ), eN)
}

func copiesCase(c *check) {
	fd := c.file(unix.O_RDONLY)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	c.must("socketpair", err)
	pid, err := unix.PidfdOpen(os.Getpid(), 0)
	c.must("pidfd", err)
	pass := func() error { return unix.Sendmsg(pair[0], one, unix.UnixRights(fd), nil, 0) }
	take := func() error { _, err := unix.PidfdGetfd(pid, fd, 0); return err }
	wait := func() error {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err
	}
	c.is("pass before", pass(), nil)
	c.is("take before", take(), nil)
	c.is("poll before", wait(), nil)
	c.is("limit with event", LimitRights(pair[1], rights.Of(rights.Read, rights.Event)), nil)
	c.is("poll while all have event", wait(), nil)
	c.is("limit", LimitRights(fd, rights.Of(rights.Read)), nil)
	_, err = unix.Dup(fd)
	c.is("dup", err, eN)
	c.is("dup3", unix.Dup3(fd, 200, 0), eN)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	c.is("F_DUPFD_CLOEXEC", err, eN)
	c.is("pass", pass(), eN)
	c.is("take", take(), eN)
	c.is("poll", wait(), eN)
	_, err = unix.Poll(nil, 1)
	c.is("poll as sleep", err, nil)
	_, err = unix.Dup(pair[0])
	c.is("dup of another", err, nil)
	// A closed number stays limited: too much, never too little.
	c.is("close", unix.Close(fd), nil)
	again, err := unix.Open("file", unix.O_RDONLY, 0)
	c.is("open again", err, nil)
	c.is("pread of the same number", pread(again), eN)
}

func lookupsCase(c *check) {
	fd := c.file(unix.O_RDONLY)
	dir, err := unix.Open(".", unix.O_DIRECTORY|unix.O_RDONLY, 0)
	c.must("open directory", err)
	look := func() error { _, err := unix.Openat(dir, "file", unix.O_RDONLY, 0); return err }
	c.is("openat before", look(), nil)
	c.is("limit", LimitRights(dir, rights.Of(rights.Read, rights.Lookup, rights.Fstat)), nil)
	c.is("openat", look(), eN)
	c.is("fstatat", unix.Fstatat(dir, "file", new(unix.Stat_t), 0), eN)
	c.is("renameat", unix.Renameat(unix.AT_FDCWD, "file", dir, "other"), eN)
	c.is("fstat", fstat(dir), nil)
	_, err = unix.Open("file", unix.O_RDONLY, 0)
	c.is("open", err, nil)
	c.is("enter", Enter(), nil)
	c.is("openat in the mode", look(), eN)
	c.is("openat of what was a file", func() error { _, err := unix.Openat(fd, "x", 0, 0); return err }(), eN)
}

func enterCase(c *check) {
	fd := c.file(unix.O_RDONLY)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	c.must("listen", err)
	dial := func() error { _, err := net.Dial("tcp", l.Addr().String()); return err }
	open := func() error { _, err := os.Open("file"); return err }
	parent := func() error { return unix.Kill(os.Getppid(), 0) }
	run := func() error { return unix.Exec("/nonexistent", nil, nil) }
	c.is("dial before", dial(), nil)
	c.is("open before", open(), nil)
	c.is("exec before", run(), unix.ENOENT)
	c.is("exec of who shares the table, before", sharing(), unix.ENOENT)
	in, err := Mode()
	if err != nil || in {
		c.failf("in the mode before: %v, %v", in, err)
	}
	c.is("enter", Enter(), nil)
	in, err = Mode()
	if err != nil || !in {
		c.failf("in the mode: %v, %v", in, err)
	}
	c.is("dial", dial(), eC)
	c.is("open", open(), eC)
	c.is("exec", run(), eC)
	c.is("a process that shares the table", sharing(), eN)
	c.is("signal to the parent", parent(), eC)
	c.is("signal to itself, whose number is also that of a child's parent", unix.Kill(os.Getpid(), 0), eC)
	c.is("chdir", unix.Chdir("/"), eC)
	owner := func(pid int) error { _, err := unix.FcntlInt(uintptr(fd), unix.F_SETOWN, pid); return err }
	c.is("itself as an owner, whose number is also that of a child's parent", owner(os.Getpid()), eC)
	c.is("nobody as an owner", owner(0), nil)
	_, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	c.is("raw socket", err, eC)
	c.is("pread", pread(fd), nil)
	c.is("fstat", fstat(fd), nil)
	_, err = unix.Dup(fd)
	c.is("dup of what is not limited", err, nil)
	c.is("enter again", Enter(), nil)
	c.is("setrlimit", unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: 600, Max: 600}), nil)
	c.is("setrlimit of core files", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}), eC)
}

// sharing starts a process that shares the descriptor table, and would execute nothing.
func sharing() error {
	_, err := syscall.ForkExec("/nonexistent", nil, &syscall.ProcAttr{
		Files: []uintptr{0, 1, 2}, // it would close them for both
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_FILES},
	})
	return err
}

// afterwardsCase limits in capability mode: ECAPMODE stays the answer.
func afterwardsCase(c *check) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	c.must("socket", err)
	fd := c.file(unix.O_RDONLY)
	c.is("enter", Enter(), nil)
	c.is("limit socket", LimitRights(s, rights.Of(rights.Read)), nil)
	c.is("limit file", LimitRights(fd, rights.Of(rights.Read)), nil)
	to := &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}
	c.is("connect", unix.Connect(s, to), eC)
	c.is("bind", unix.Bind(s, to), eC)
	c.is("sendto", unix.Sendto(s, one, 0, to), eC)
	c.is("write", func() error { _, err := unix.Write(s, one); return err }(), eN)
	c.is("interface", unix.IoctlSetInt(s, 0x8914, 0), eC)
	c.is("ioctl", unix.IoctlSetInt(s, 0x5451, 0), eN)
	c.is("fchdir", unix.Fchdir(fd), eC)
	c.is("openat", func() error { _, err := unix.Openat(unix.AT_FDCWD, "file", 0, 0); return err }(), eC)
	c.is("pread", pread(fd), eN)
	c.is("dup", func() error { _, err := unix.Dup(fd); return err }(), eN)
}

func threadsCase(c *check) {
	fd := c.file(unix.O_RDONLY)
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	thread := func(name string) {
		wg.Add(1)
		ready := make(chan struct{})
		go func() {
			defer wg.Done()
			runtime.LockOSThread()
			close(ready)
			<-start
			err, opened := pread(fd), unix.Access("file", 0)
			mu.Lock()
			defer mu.Unlock()
			c.is(name+" pread", err, eN)
			c.is(name+" access", opened, eC)
		}()
		<-ready
	}
	for i := range 8 {
		thread("before " + strconv.Itoa(i))
	}
	c.is("limit", LimitRights(fd, rights.Of(rights.Read)), nil)
	c.is("enter", Enter(), nil)
	for i := range 8 {
		thread("after " + strconv.Itoa(i))
	}
	close(start)
	wg.Wait()
}

// runtimeCase: collecting garbage stops busy goroutines by signals, which a
// process sends to itself.
func runtimeCase(c *check) {
	fd := c.file(unix.O_RDONLY)
	runtime.GOMAXPROCS(2)
	c.is("limit", LimitRights(fd, rights.Of(rights.Read)), nil)
	c.is("enter", Enter(), nil)
	var stop atomic.Bool
	var turns [3]int
	var wg sync.WaitGroup
	for i := range turns {
		wg.Go(func() {
			for !stop.Load() {
				turns[i]++
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var keep [][]byte
		for range 20 {
			keep = append(keep, make([]byte, 1<<20))
			runtime.GC()
		}
		runtime.KeepAlive(keep)
		time.Sleep(10 * time.Millisecond)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		c.failf("garbage collection hangs")
	}
	stop.Store(true)
	wg.Wait()
	for i, n := range turns {
		if n == 0 {
			c.failf("goroutine %d never ran", i)
		}
	}
}

func ioCase(c *check) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	c.must("listen", err)
	client, err := net.Dial("tcp", l.Addr().String())
	c.must("dial", err)
	r, w, err := os.Pipe()
	c.must("pipe", err)
	c.is("enter", Enter(), nil)
	server, err := l.Accept()
	c.must("accept", err)
	for name, ends := range map[string]struct {
		r io.Reader
		w io.Writer
	}{"net": {server, client}, "pipe": {r, w}} {
		go func() {
			time.Sleep(time.Millisecond)
			ends.w.Write([]byte("x"))
		}()
		b := make([]byte, 1)
		_, err := io.ReadFull(ends.r, b)
		c.is(name+" read", err, nil)
	}
	c.is("deadline", server.SetReadDeadline(time.Now().Add(5*time.Millisecond)), nil)
	_, err = server.Read(one)
	c.is("read until the deadline", err, os.ErrDeadlineExceeded)
	r2, w2, err := os.Pipe()
	c.must("pipe afterwards", err)
	c.is("close", w2.Close(), nil)
	_, err = r2.Read(one)
	c.is("end of pipe", err, io.EOF)
}

const (
	numberVariable = "CAPSICUM_STATIC_NUMBER"
	secondVariable = "CAPSICUM_STATIC_SECOND"
)

// executed are run by a case, through exec.
var executed = map[string]func(*check){"executed": executedCase}

func execCase(c *check) {
	fd := c.file(unix.O_RDWR)
	c.is("limit ioctls", LimitIoctls(fd, []uint32{0x5451}), nil)
	c.is("limit", LimitRights(fd, rights.Of(rights.Read, rights.Ioctl, rights.Fcntl)), nil)
	c.is("limit fcntls", LimitFcntls(fd, rights.FcntlGetfl), nil)
	second := c.file(unix.O_RDWR)
	c.is("limit ioctls", LimitIoctls(second, []uint32{0x5451}), nil)
	for _, kept := range []int{fd, second} {
		_, err := unix.FcntlInt(uintptr(kept), unix.F_SETFD, 0)
		c.must("keep through exec", err)
	}
	cmd := child("executed", numberVariable+"="+strconv.Itoa(fd), secondVariable+"="+strconv.Itoa(second))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	c.is("child", cmd.Run(), nil)
	shell, err := exec.Command("/bin/sh", "-c", fmt.Sprintf("read -r line <&%d || echo no", fd)).CombinedOutput()
	if err != nil {
		c.failf("shell: %v\n%s", err, shell)
	}
}

func executedCase(c *check) {
	fd, err := strconv.Atoi(os.Getenv(numberVariable))
	c.must("number", err)
	s, err := Rights(fd)
	if err != nil || s != rights.Of(rights.Read, rights.Ioctl, rights.Fcntl) {
		c.failf("rights: %v, %v", s, err)
	}
	if mask, err := Fcntls(fd); err != nil || mask != rights.FcntlGetfl {
		c.failf("mask: %#x, %v", mask, err)
	}
	c.is("read", func() error { _, err := unix.Read(fd, one); return err }(), nil)
	c.is("pread", pread(fd), eN)
	c.is("widen", LimitRights(fd, rights.Of(rights.Pread)), eN)
	c.is("permitted ioctl", unix.IoctlSetInt(fd, 0x5451, 0), nil)
	c.is("other ioctl", unix.IoctlSetInt(fd, 0x5450, 0), eN)
	_, limited, err := Ioctls(fd)
	c.is("list from before exec", err, unix.EOPNOTSUPP)
	if !limited {
		c.failf("the list was forgotten")
	}
	c.is("limit with an untold list", LimitRights(fd, rights.Of(rights.Read, rights.Ioctl)), nil)
	c.is("permitted ioctl still", unix.IoctlSetInt(fd, 0x5451, 0), nil)
	c.is("widen an untold list", LimitIoctls(fd, []uint32{0x5450}), eN)
	c.is("narrow an untold list", LimitIoctls(fd, []uint32{0x5451}), nil)
	list, limited, err := Ioctls(fd)
	if err != nil || !limited || !slices.Equal(list, []uint32{0x5451}) {
		c.failf("list: %x, %v, %v", list, limited, err)
	}
	c.is("permitted ioctl after that", unix.IoctlSetInt(fd, 0x5451, 0), nil)
	second, err := strconv.Atoi(os.Getenv(secondVariable))
	c.must("number", err)
	c.is("empty an untold list", LimitIoctls(second, nil), nil)
	c.is("ioctl that was permitted", unix.IoctlSetInt(second, 0x5451, 0), eN)
	c.is("enter", Enter(), nil)
	c.is("open", unix.Access("file", 0), eC)
}

// noMoreCase: what changes nothing adds no filter.
func noMoreCase(c *check) {
	fd, other := c.file(unix.O_RDONLY), c.file(unix.O_RDONLY)
	before := c.filters()
	all, read := rights.All(), rights.Of(rights.Read, rights.Fcntl)
	c.is("limit to all", LimitRights(fd, all), nil)
	c.is("limit to all fcntls", LimitFcntls(fd, rights.FcntlAll), nil)
	if n := c.filters(); n != before {
		c.failf("limits to everything added %d filters", n-before)
	}
	for range 3 {
		c.is("limit", LimitRights(fd, read), nil)
		c.is("limit other", LimitRights(other, read), nil)
	}
	if n := c.filters(); n != before+2 {
		c.failf("2 limits added %d filters", n-before)
	}
	c.is("failing limit", LimitRights(fd, all), eN)
	if n := c.filters(); n != before+2 {
		c.failf("a limit that fails added a filter")
	}
}

// manyCase: when the kernel takes no more filters, a limit fails, and says so.
func manyCase(c *check) {
	held := 0
	for fd := 100; ; fd++ {
		base := c.file(unix.O_RDONLY)
		c.must("dup", unix.Dup3(base, fd, 0))
		c.must("close", unix.Close(base))
		err := LimitRights(fd, rights.Of(rights.Read, rights.Fstat))
		if err == nil {
			c.is("pread", pread(fd), eN)
			c.is("fstat", fstat(fd), nil)
			held++
			continue
		}
		c.is("one limit too many", err, unix.ENOMEM)
		c.is("pread of what is not limited", pread(fd), nil)
		break
	}
	if held < 100 {
		c.failf("only %d limits were possible", held)
	}
	fmt.Printf("%d descriptors limited\n", held)
}

// bothCase limits from many goroutines at once.
func bothCase(c *check) {
	fds := make([]int, 16)
	for i := range fds {
		fds[i] = c.file(unix.O_RDONLY)
	}
	var wg sync.WaitGroup
	errs := make([]error, len(fds))
	for i, fd := range fds {
		wg.Go(func() {
			if i%2 == 0 {
				runtime.LockOSThread()
			}
			errs[i] = LimitRights(fd, rights.Of(rights.Read))
		})
	}
	wg.Go(func() { c.is("enter", Enter(), nil) })
	wg.Wait()
	for i, fd := range fds {
		c.is("limit", errs[i], nil)
		c.is("pread", pread(fd), eN)
	}
}
