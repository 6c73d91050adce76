//go:build linux

package selfconfined

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// unnoticed are things that must go on as before in a process that has limited
// another descriptor: do returns nil in both.
var unnoticed = []attack{
	{name: "a select with sets shorter than its count", do: func(a *attacker) error {
		a.limit(a.file("it", "it"), rights.Read)
		mem := must(unix.Mmap(-1, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE))
		check(unix.Mprotect(mem[4096:], unix.PROT_NONE))
		set := (*unix.FdSet)(unsafe.Pointer(&mem[4096-unsafe.Sizeof(unix.FdSet{})]))
		_, err := unix.Select(1<<19, set, nil, nil, &unix.Timeval{})
		return err
	}},
	{name: "an absolute name that is one beneath", do: absoluteBeneath},
	{name: "a message with more descriptors than there are numbers", do: fullTable},
	{name: "a message that is not copied, or is refused to be", do: uncopied},
	{name: "a message whose sender has no room for its name", do: namelessSender},
	{name: "a message with its sender's process", do: senderProcess},
	{name: "a descriptor that comes while messages wait for room", do: comesMeanwhile},
	{name: "a number that a thread uses which gets little time", do: lateThread},
	{name: "a process beside one whose memory is not there", root: true, do: besideFault},
}

// absoluteBeneath opens a name that openat2 takes for one beneath the directory.
func absoluteBeneath(a *attacker) error {
	check(unix.Close(a.file("passwd", "beneath")))
	dir := must(unix.Open(a.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0))
	a.limit(dir, rights.Lookup, rights.Read)
	fd, err := -1, error(unix.EAGAIN)
	for tries := 0; err == unix.EAGAIN && tries < 1000; tries++ { // which it is after a rename by anybody
		fd, err = unix.Openat2(dir, "/../passwd", &unix.OpenHow{Flags: unix.O_RDONLY, Resolve: unix.RESOLVE_IN_ROOT})
	}
	if err != nil {
		return err
	}
	buf := make([]byte, 8)
	n, err := unix.Read(fd, buf)
	if err != nil || string(buf[:n]) != "beneath" {
		return fmt.Errorf("%q, %w", buf[:n], err)
	}
	if fd, err := unix.Openat2(dir, "/passwd", &unix.OpenHow{Flags: unix.O_RDONLY, Resolve: unix.RESOLVE_BENEATH}); err == nil || err == unix.EINVAL {
		return fmt.Errorf("what leads out is %d, %w", fd, err)
	}
	return nil
}

// fullTable receives two descriptors with one number left.
func fullTable(a *attacker) error {
	pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	a.limit(a.file("it", "it"), rights.Read)
	check(unix.Sendmsg(pair[0], []byte("text"), unix.UnixRights(0, 1), nil, 0))
	var l unix.Rlimit
	check(unix.Getrlimit(unix.RLIMIT_NOFILE, &l))
	l.Cur = 64
	check(unix.Setrlimit(unix.RLIMIT_NOFILE, &l))
	last := -1
	for {
		n, err := unix.Dup(0)
		if err != nil {
			break
		}
		last = n
	}
	check(unix.Close(last))
	data, control := make([]byte, 10), make([]byte, unix.CmsgSpace(8))
	n, cn, flags, _, err := unix.Recvmsg(pair[1], data, control, 0)
	if err != nil {
		return err
	}
	msgs, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil || len(msgs) != 1 {
		return fmt.Errorf("%d messages, %w", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if string(data[:n]) != "text" || flags&unix.MSG_CTRUNC == 0 || len(fds) != 1 || fds[0] != last {
		return fmt.Errorf("%q, flags %x, %v, not %d, %w", data[:n], flags, fds, last, err)
	}
	return nil
}

// namelessSender asks for a sender's name of a length that is none. The message must
// still be there after that.
func namelessSender(a *attacker) error {
	pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0))
	a.limit(pair[1], rights.Read)
	check(unix.Sendmsg(pair[0], []byte("text"), nil, nil, 0))
	data, control, name := make([]byte, 10), make([]byte, 64), make([]byte, 110)
	h := unix.Msghdr{Name: &name[0], Namelen: ^uint32(0), Iov: &unix.Iovec{Base: &data[0], Len: 10}, Iovlen: 1, Control: &control[0], Controllen: 64}
	if _, _, err := unix.Syscall(unix.SYS_RECVMSG, uintptr(pair[1]), uintptr(unsafe.Pointer(&h)), 0); err != unix.EINVAL {
		return fmt.Errorf("a name of -1 bytes: %w", err)
	}
	h.Namelen = 110
	n, _, err := unix.Syscall(unix.SYS_RECVMSG, uintptr(pair[1]), uintptr(unsafe.Pointer(&h)), unix.MSG_DONTWAIT)
	if err != 0 || string(data[:n]) != "text" {
		return fmt.Errorf("%q, %w", data[:n], err)
	}
	return nil
}

// senderProcess receives a descriptor of the process that sends.
func senderProcess(a *attacker) error {
	pair := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	check(unix.SetsockoptInt(pair[1], unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1))
	a.limit(a.file("it", "it"), rights.Read)
	_, err := unix.Write(pair[0], []byte("text"))
	check(err)
	data, control := make([]byte, 10), make([]byte, 64)
	_, cn, _, _, err := unix.Recvmsg(pair[1], data, control, 0)
	if err != nil {
		return err
	}
	msgs, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil || len(msgs) != 1 || len(msgs[0].Data) < 4 {
		return fmt.Errorf("%v, %w", msgs, err)
	}
	fd := *(*int32)(unsafe.Pointer(&msgs[0].Data[0]))
	link := must(os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)))
	if link != "anon_inode:[pidfd]" && len(link) < 6 {
		return errors.New(link)
	}
	return unix.PidfdSendSignal(int(fd), 0, nil, 0)
}

// uncopied sends without a copy. What arrives is what was sent, also when that is
// received much later.
func uncopied(a *attacker) error {
	l := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	check(unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check(unix.Listen(l, 1))
	s := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	check(unix.Connect(s, must(unix.Getsockname(l))))
	check(unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1))
	a.limit(a.file("it", "it"), rights.Read)
	_, err := unix.SendmsgN(s, make([]byte, 1<<16), nil, nil, unix.MSG_ZEROCOPY)
	if a.confined && err == unix.ENOBUFS {
		return nil
	}
	if err == nil && a.confined {
		return errors.New("memory of the supervisor is under way")
	}
	return err
}

// comesMeanwhile receives a descriptor that is limited while other threads wait for
// room for what they send: on a stream, and on what has one message after another.
func comesMeanwhile(a *attacker) error {
	in := a.underWay()
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		p := must(unix.Socketpair(unix.AF_UNIX, kind, 0))
		go func() {
			for unix.Sendmsg(p[0], make([]byte, 1000), nil, nil, 0) == nil {
			}
		}()
	}
	time.Sleep(200 * time.Millisecond)
	start := time.Now()
	if _, err := receive(in); err != nil {
		return err
	}
	if took := time.Since(start); took > time.Minute {
		return fmt.Errorf("it takes %v", took)
	}
	return nil
}

// lateThread puts descriptors under a number that a thread writes to, which others leave
// little time for: it may be long between its question and its call.
func lateThread(a *attacker) error {
	runtime.GOMAXPROCS(8)
	debug.SetGCPercent(-1) // it would wait for the thread
	const number = 300
	limited, other := a.derived(a.file("it", "it"), rights.Read), a.file("other", "other")
	check(unix.Dup3(other, number, 0))
	var one unix.CPUSet
	one.Set(firstProcessor())
	var over atomic.Bool
	defer over.Store(true)
	for range 3 {
		go func() {
			runtime.LockOSThread()
			check(unix.SchedSetaffinity(0, &one))
			for !over.Load() {
			}
		}()
	}
	late := make(chan bool)
	go func() {
		runtime.LockOSThread()
		check(unix.SchedSetaffinity(0, &one))
		check(unix.Setpriority(unix.PRIO_PROCESS, 0, 19))
		late <- true
		for !over.Load() {
			_, _, _ = unix.Syscall(unix.SYS_WRITE, number, 0, 0)
		}
	}()
	<-late
	for range 20 {
		if err := errors.Join(unix.Dup3(limited, number, 0), unix.Dup3(other, number, 0)); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// firstProcessor is one that this process may use.
func firstProcessor() int {
	var all unix.CPUSet
	check(unix.SchedGetaffinity(0, &all))
	n := 0
	for !all.IsSet(n) {
		n++
	}
	return n
}
