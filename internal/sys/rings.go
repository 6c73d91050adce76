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

// SubmitsUnseen reports whether thread tid of a process is one of the kernel's that
// carries out what is written into the memory of an io_uring (IORING_SETUP_SQPOLL), so
// that no filter sees a call. Other threads of the kernel's, which only finish what was
// submitted, call themselves so; one that has not come to that yet is taken for the
// worst.
func SubmitsUnseen(pid, tid int) bool {
	const flagsField, ioWorker = 9 - 3, 0x10 // PF_IO_WORKER
	text, err := os.ReadFile(tasks(pid) + "/" + strconv.Itoa(tid) + "/stat")
	fields := StatFields(text)
	if err != nil || len(fields) <= flagsField {
		return false
	}
	flags, err := strconv.ParseUint(fields[flagsField], 10, 64)
	return err == nil && flags&ioWorker != 0 && !bytes.Contains(text, []byte(" (iou-wrk-"))
}

const kcmpFiles = 2 // KCMP_FILES

// SameFiles reports whether two threads share their descriptor table, true also where
// that is not told.
func SameFiles(a, b int) bool {
	n, _, e := unix.RawSyscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpFiles, 0, 0, 0)
	return e != 0 || n == 0
}
