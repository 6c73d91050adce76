//go:build linux

package selfconfined

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum"
	"golang.org/x/sys/unix"
)

// ringAttacks leave the calls to the kernel.
var ringAttacks = []attack{
	{name: "a name, through an io_uring that the kernel polls", do: func(a *attacker) error {
		r := newRing()
		if a.confined {
			if err := capsicum.Enter(); err != nil {
				return err // the process knows that it is not confined
			}
		}
		name := []byte("/etc/passwd\x00")
		const openat = 18 // IORING_OP_OPENAT
		return r.do(openat, unix.AT_FDCWD, uintptr(unsafe.Pointer(&name[0])))
	}},
}

// ring is an io_uring whose submissions a thread of the kernel's carries out.
type ring struct {
	params  ringParams
	queues  []byte
	entries []byte
}

type ringParams struct {
	entries, completions, flags, cpu, idle, features, other uint32
	_                                                       [3]uint32
	submission                                              struct{ head, tail, mask, entries, flags, dropped, array, _, _, _ uint32 }
	completion                                              struct{ head, tail, mask, entries, overflow, first, flags, _, _, _ uint32 }
}

func newRing() *ring {
	const sqPoll, longest = 2, 20000 // IORING_SETUP_SQPOLL; for so many ms the thread does not rest
	r := &ring{params: ringParams{flags: sqPoll, idle: longest}}
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&r.params)), 0)
	check(errnoOf(e))
	const entriesAt, prot = 0x10000000, unix.PROT_READ | unix.PROT_WRITE
	size := max(r.params.completion.first+16*r.params.completions, r.params.submission.array+4*r.params.entries)
	r.queues = must(unix.Mmap(int(fd), 0, int(size), prot, unix.MAP_SHARED))
	r.entries = must(unix.Mmap(int(fd), entriesAt, 64*int(r.params.entries), prot, unix.MAP_SHARED))
	const wake = 2 // IORING_ENTER_SQ_WAKEUP
	_, _, e = unix.Syscall6(unix.SYS_IO_URING_ENTER, fd, 0, 0, wake, 0, 0)
	check(errnoOf(e))
	check(r.do(0, 0, 0))
	return r
}

func (r *ring) word(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.queues[at])) }

// do writes a submission and waits for what becomes of it.
func (r *ring) do(op uint8, fd int32, addr uintptr) error {
	tail := r.word(r.params.submission.tail)
	slot := *tail & *r.word(r.params.submission.mask)
	entry := unsafe.Pointer(&r.entries[64*slot])
	*(*uint8)(entry) = op
	*(*int32)(unsafe.Add(entry, 4)) = fd
	*(*uint64)(unsafe.Add(entry, 16)) = uint64(addr)
	*r.word(r.params.submission.array + 4*slot) = slot
	done := *r.word(r.params.completion.tail)
	atomic.AddUint32(tail, 1)
	for range 2000 {
		if atomic.LoadUint32(r.word(r.params.completion.tail)) != done {
			at := r.params.completion.first + 16*(done&*r.word(r.params.completion.mask))
			if result := int32(*r.word(at + 8)); result < 0 {
				return fmt.Errorf("operation %d: %w", op, unix.Errno(-result))
			}
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("nobody looks into the ring")
}
