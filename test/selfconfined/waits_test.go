//go:build linux

package selfconfined

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// waitAttacks change what a number means while a call that was judged has not
// looked it up.
var waitAttacks = []attack{
	{name: "a call that waits for its arguments", root: true, do: func(a *attacker) error { return heldBack(a, sendHere) }},
	{name: "a call of who shares the table waits for its arguments", root: true, do: func(a *attacker) error { return heldBack(a, sendBySharer) }},
}

// absent returns a page that nobody may touch until fill is called, and whoever does
// waits.
func absent() (page []byte, fill func(content []byte)) {
	n, _, e := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if e != 0 {
		check(e)
	}
	const size = 4096
	page = must(unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE))
	addr := uintptr(unsafe.Pointer(&page[0]))
	api := [3]uint64{0xAA}
	register := [4]uint64{uint64(addr), size, 1}
	for _, call := range []struct {
		nr  uintptr
		arg unsafe.Pointer
	}{{0xc018aa3f, unsafe.Pointer(&api)}, {0xc020aa00, unsafe.Pointer(&register)}} {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, n, call.nr, uintptr(call.arg)); e != 0 {
			check(e)
		}
	}
	return page, func(content []byte) {
		src := make([]byte, 2*size)
		at := (uintptr(unsafe.Pointer(&src[0])) + size - 1) &^ (size - 1)
		copy(src[at-uintptr(unsafe.Pointer(&src[0])):], content)
		cp := [5]uint64{uint64(addr), uint64(at), size}
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, n, 0xc028aa03, uintptr(unsafe.Pointer(&cp))); e != 0 {
			check(e)
		}
	}
}

// heldBack holds a sendfile back at its offset, which comes before the descriptors,
// and puts another file under the number.
func heldBack(a *attacker, send func(out, in int, offset uintptr) error) error {
	limited := a.derived(a.file("it", "secret"), rights.Write)
	const number = 300
	check(unix.Dup3(a.file("other", "public"), number, 0))
	var p [2]int
	check(unix.Pipe(p[:]))
	page, fill := absent()
	offset := uintptr(unsafe.Pointer(&page[0]))
	done := make(chan error)
	go func() { done <- send(p[1], number, offset) }()
	time.Sleep(100 * time.Millisecond)
	err := unix.Dup3(limited, number, 0)
	fill(nil)
	if err != nil {
		return fmt.Errorf("dup3: %w", err)
	}
	if err := <-done; err != nil {
		return err
	}
	buf := make([]byte, 6)
	_ = must(unix.Read(p[0], buf))
	if string(buf) != "secret" {
		return fmt.Errorf("read %q", buf)
	}
	return nil
}

func sendHere(out, in int, offset uintptr) error {
	if _, _, e := unix.Syscall6(unix.SYS_SENDFILE, uintptr(out), uintptr(in), offset, 6, 0, 0); e != 0 {
		return e
	}
	return nil
}

// sendBySharer sends in another process, which has this one's memory also.
func sendBySharer(out, in int, offset uintptr) error {
	var steps script.Sequence
	steps.Do("send", unix.SYS_SENDFILE, out, in, offset, 6)
	steps.Do("end", unix.SYS_EXIT_GROUP, 0)
	pid, err := script.Start(unix.CLONE_FILES|unix.CLONE_VM, &steps)
	if err != nil {
		return err
	}
	var st unix.WaitStatus
	_ = must(unix.Wait4(pid, &st, unix.WALL, nil))
	return steps.Err()
}
