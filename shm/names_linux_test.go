package shm

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum"
)

// names are calls by which memory and messages are shared under names of the machine.
// Outside capability mode none is refused as in it, whatever else it says.
func names(c circumstances, confine func()) error {
	queue := []byte("capsicum-test\x00")
	abstract := &unix.SockaddrUnix{Name: "@capsicum-test"}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	raw := func(nr uintptr, args ...uintptr) func() error {
		var a [6]uintptr
		copy(a[:], args)
		return func() error {
			if _, _, e := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
				return e
			}
			return nil
		}
	}
	var id int32
	parentsClock := uintptr(uint32(^os.Getppid() << 3)) // CPUCLOCK_PROF of the process
	p := uintptr(unsafe.Pointer(&queue[0]))
	calls := map[string]func() error{
		"shm_open, sem_open":   func() error { _, err := unix.Open("/dev/shm/capsicum-test", unix.O_RDWR, 0); return err },
		"shm_unlink":           func() error { return unix.Unlink("/dev/shm/capsicum-test") },
		"mq_open":              raw(unix.SYS_MQ_OPEN, p, unix.O_RDWR, 0, 0),
		"mq_open, new":         raw(unix.SYS_MQ_OPEN, p, unix.O_RDWR|unix.O_CREAT, 0o600, 0),
		"mq_unlink":            raw(unix.SYS_MQ_UNLINK, p),
		"shmget":               raw(unix.SYS_SHMGET, 0x6361, 4096, 0),
		"shmget, private":      raw(unix.SYS_SHMGET, 0, 4096, 0o600),
		"shmat":                raw(unix.SYS_SHMAT, 1<<30),
		"semget":               raw(unix.SYS_SEMGET, 0x6361, 1, 0),
		"msgget":               raw(unix.SYS_MSGGET, 0x6361, 0),
		"timer of a process":   raw(unix.SYS_TIMER_CREATE, parentsClock, 0, uintptr(unsafe.Pointer(&id))),
		"clock of a process":   raw(unix.SYS_CLOCK_GETTIME, parentsClock, uintptr(unsafe.Pointer(new(unix.Timespec)))),
		"bind, abstract":       func() error { return unix.Bind(socket, abstract) },
		"connect, abstract":    func() error { return unix.Connect(socket, abstract) },
		"send to an abstract":  func() error { return unix.Sendto(socket, []byte{1}, 0, abstract) },
		"an abstract listener": func() error { return unix.Bind(must2(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)), abstract) },
	}
	confine()
	var errs []error
	for what, call := range calls {
		switch err := call(); {
		case c.mode:
			errs = append(errs, check(what, err, capsicum.ErrCapabilityMode))
		case errors.Is(err, capsicum.ErrCapabilityMode):
			errs = append(errs, check(what+", outside capability mode", err, nil))
		}
	}
	if !c.mode {
		_ = raw(unix.SYS_MQ_UNLINK, p)()
	}
	return errors.Join(errs...)
}

func must2(n int, err error) int {
	must(err)
	return n
}
