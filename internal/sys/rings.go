package sys

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Threads lists the threads of a process.
func Threads(pid int) ([]int, error) {
	fd, err := openProc(tasks(pid), unix.O_RDONLY|unix.O_DIRECTORY)
	var list []int
	if err == nil {
		defer fd.CloseSoon()
		list, err = readNumbers(func(b []byte) (int, error) { return takeFrom(unix.SYS_GETDENTS64, fd, b) })
	}
	if err != nil {
		return nil, fmt.Errorf("list threads: %w", err)
	}
	return list, nil
}

func tasks(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/task" }

// FiltersSee fails with EBUSY if thread tid of a process is one of the kernel's that carries
// out what is written into the memory of an io_uring (IORING_SETUP_SQPOLL), so that no
// filter sees a call. Other threads of the kernel's, which only finish what was submitted,
// call themselves so; one that has not come to that yet is taken for the worst. It fails
// too if a thread that has not ended can't be looked at.
func FiltersSee(pid, tid int) error {
	const flagsField, ioWorker = 9 - 3, 0x10 // PF_IO_WORKER
	fd, err := openProc(tasks(pid)+"/"+strconv.Itoa(tid)+"/stat", unix.O_RDONLY)
	var text []byte
	if err == nil {
		defer fd.CloseSoon()
		text, err = readAll(func(b []byte) (int, error) { return takeFrom(unix.SYS_READ, fd, b) })
	}
	if err == unix.ENOENT || err == unix.ESRCH {
		return nil
	}
	var flags uint64
	if err == nil {
		err = unix.EBADMSG
		if fields := StatFields(text); len(fields) > flagsField {
			flags, err = strconv.ParseUint(fields[flagsField], 10, 64)
		}
	}
	if err != nil {
		return fmt.Errorf("look at thread %d: %w", tid, err)
	}
	if flags&ioWorker != 0 && !bytes.Contains(text, []byte(" (iou-wrk-")) {
		return fmt.Errorf("thread %d submits calls of an io_uring unseen: %w", tid, unix.EBUSY)
	}
	return nil
}
