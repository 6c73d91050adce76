package sys

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Threads lists the threads of a process.
func Threads(pid int) ([]int, error) {
	entries, err := os.ReadDir(tasks(pid))
	if err != nil {
		return nil, fmt.Errorf("list threads: %w", err)
	}
	list := make([]int, 0, len(entries))
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			list = append(list, tid)
		}
	}
	return list, nil
}

func tasks(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/task" }

// ringThread is how the kernel calls its threads that carry out what a process writes
// into the memory of an io_uring (IORING_SETUP_SQPOLL).
var ringThread = []byte("iou-sqp-")

// SubmitsUnseen reports whether thread tid of a process is one of the kernel's, which
// makes calls for it that no filter sees.
func SubmitsUnseen(pid, tid int) bool {
	name, err := os.ReadFile(tasks(pid) + "/" + strconv.Itoa(tid) + "/comm")
	return err == nil && bytes.HasPrefix(name, ringThread)
}

const kcmpFiles = 2 // KCMP_FILES

// SameFiles reports whether two threads share their descriptor table, true also where
// that is not told.
func SameFiles(a, b int) bool {
	n, _, e := unix.RawSyscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpFiles, 0, 0, 0)
	return e != 0 || n == 0
}
