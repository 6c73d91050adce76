package conformance

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// step is a system call that a forked process makes.
type step struct {
	nr   uintptr
	args [6]uintptr
	// take is which argument, counted from 1, is the result of the step before.
	take int
	// load is where the first argument is, where a call before it puts it.
	load *int32
	// split makes the process that gets a result other than 0 exit, so that the
	// rest is done by a process whose parent is gone.
	split bool
}

func call6(nr uintptr, args ...uintptr) step {
	s := step{nr: nr}
	copy(s.args[:], args)
	return s
}

// script is what a forked process does: it makes the calls in order and exits
// with the errno of the first that fails, or 0.
type script struct {
	steps  []step
	report int // a descriptor to write the errno to as a byte, where nobody waits; 0 is none
}

// play is all that runs in a forked process. The runtime of Go is not there any
// more, so nothing here may grow the stack, allocate, or be preempted.
//
//go:nosplit
//go:norace
func play(s *script, code *[1]byte) {
	var last uintptr
	for i := range s.steps {
		st := &s.steps[i]
		if st.take > 0 {
			st.args[st.take-1] = last
		}
		if st.load != nil {
			st.args[0] = uintptr(*st.load)
		}
		r, _, errno := syscall.RawSyscall6(st.nr, st.args[0], st.args[1], st.args[2], st.args[3], st.args[4], st.args[5])
		if errno != 0 {
			code[0] = byte(errno)
			break
		}
		if st.split && r != 0 {
			syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
		}
		last = r
	}
	if s.report != 0 {
		syscall.RawSyscall6(unix.SYS_WRITE, uintptr(s.report), uintptr(unsafe.Pointer(code)), 1, 0, 0, 0)
	}
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, uintptr(code[0]), 0, 0, 0, 0, 0)
	}
}

// clone makes a process that plays s, and returns its number.
//
//go:nosplit
//go:norace
func clone(flags, pidfd uintptr, s *script, code *[1]byte) (uintptr, syscall.Errno) {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, flags, 0, pidfd, 0, 0, 0)
	if errno == 0 && pid == 0 {
		play(s, code)
	}
	return pid, errno
}

// start makes a process that plays s. Flags are of clone(2).
func start(flags uintptr, pidfd uintptr, s script) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	code := new([1]byte)
	at(code)
	at(&s)
	// From here to the clone is less than a time slice.
	runtime.Gosched()
	pid, errno := clone(flags|uintptr(unix.SIGCHLD), pidfd, &s, code)
	if errno != 0 {
		return 0, errno
	}
	return int(pid), nil
}

// wait returns how a process that plays a script ended: nil, or the errno.
func wait(pid int) error {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		break
	}
	switch {
	case !status.Exited():
		return fmt.Errorf("the child ended with %v", status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Errorf("in the child: %w", syscall.Errno(status.ExitStatus()))
	}
	return nil
}

// forked plays s in a process with a copy of everything.
func forked(steps ...step) error {
	pid, err := start(0, 0, script{steps: steps})
	if err != nil {
		return fmt.Errorf("fork: %w", err)
	}
	return wait(pid)
}

// startPidfd is start with a descriptor of the process.
func startPidfd(s script) (pid, pidfd int, err error) {
	fd := new(int32)
	pid, err = start(unix.CLONE_PIDFD, at(fd), s)
	return pid, int(*fd), err
}

// runAt executes a program in a forked process, and returns how it ended.
func runAt(dir int, name string, flags uintptr) error {
	argv := at(&[2]uintptr{text("program"), 0})
	return forked(call6(unix.SYS_EXECVEAT, uintptr(dir), text(name), argv, at(&[1]uintptr{0}), flags))
}

// program returns a descriptor of an executable file.
func (t *T) program(image []byte) int {
	path := t.path(fmt.Sprintf("program%d", serial.Add(1)))
	stop("write", os.WriteFile(path, image, 0o700))
	return t.open(path, unix.O_RDONLY)
}

// exits is a program that does nothing.
func exits() []byte { return image(call6(unix.SYS_GETPID)) }

const loadAddress = 0x400000

// image returns an executable file that makes calls in order and exits with the
// errno of the first that fails, or 0. It is static, and has no data: arguments
// are numbers.
func image(steps ...step) []byte { return imageWith("", steps...) }

// dataAddress is where a program made by imageWith has its data.
const dataAddress = loadAddress + 64 + 56

// imageWith is image with data, at dataAddress.
func imageWith(data string, steps ...step) []byte {
	for data += "\x00"; len(data)%16 != 8; { // the code is aligned
		data += "\x00"
	}
	code := machineCode(steps)
	size := uint64(64 + 56 + len(data) + len(code))
	h := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	le := binary.LittleEndian
	h = le.AppendUint16(h, 2) // ET_EXEC
	h = le.AppendUint16(h, machine)
	h = le.AppendUint32(h, 1)
	h = le.AppendUint64(h, dataAddress+uint64(len(data))) // entry
	h = le.AppendUint64(h, 64)                            // program headers
	h = le.AppendUint64(h, 0)
	h = le.AppendUint32(h, 0)
	for _, v := range []uint16{64, 56, 1, 0, 0, 0} {
		h = le.AppendUint16(h, v)
	}
	h = le.AppendUint32(h, 1) // PT_LOAD
	h = le.AppendUint32(h, 7) // read, write, execute
	for _, v := range []uint64{0, loadAddress, loadAddress, size, size, 0x1000} {
		h = le.AppendUint64(h, v)
	}
	return append(append(h, data...), code...)
}
