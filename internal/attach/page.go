package attach

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// page is the memory that a process and its future supervisor share while the
// filter's listener changes hands. Between the filter's installation and the
// supervisor's first answer no call may be made that the filter asks about:
// waiting for a word in memory is none. The layout is known to the C library.
type page struct {
	state    uint32
	listener int32 // its number in the process, once installed
	errno    int32 // why the supervisor gave up
	count    uint32
	code     [request.MaxFilter]unix.SockFilter // the filter to install, of count instructions
}

// The states, in order; each side moves on to its own.
const (
	stateStarted    = iota
	stateIntroduced // the process: you may look at me
	stateReady      // the supervisor: I can, and wait for the listener
	stateInstalled  // the process: here it is
	stateServing    // the supervisor: I answer
	stateFailed     // the supervisor: I can't
)

const pageSize = int(unsafe.Sizeof(page{}))

// mapPage maps the page that memfd fd is.
func mapPage(fd int) (*page, error) {
	at, err := sys.MapShared(fd, pageSize)
	if err != nil {
		return nil, fmt.Errorf("map shared page: %w", err)
	}
	return (*page)(at), nil
}

func (p *page) unmap() { sys.Unmap(unsafe.Pointer(p), pageSize) }

// newPage makes a page, and the descriptor that leads the other side to it.
func newPage() (*page, *sys.FD, error) {
	fd, err := sys.NewMemory("capsicum", pageSize)
	if err != nil {
		return nil, nil, fmt.Errorf("make shared page: %w", err)
	}
	p, err := mapPage(fd.Int())
	if err != nil {
		fd.CloseSoon()
		return nil, nil, err
	}
	return p, fd, nil
}

// write compiles the filter that the process is to install.
func (p *page) write(o syscalls.Options) error {
	prog, err := syscalls.Compile(sysno.Native, o)
	if err != nil {
		return fmt.Errorf("compile filter: %w", err)
	}
	p.count = uint32(copy(p.code[:], prog))
	return nil
}

func (p *page) set(state uint32) { sys.SetWord(&p.state, state) }

func (p *page) fail(err error) {
	var e unix.Errno
	if !errors.As(err, &e) {
		e = unix.EIO
	}
	atomic.StoreInt32(&p.errno, int32(e))
	p.set(stateFailed)
}

// look is how often the other side is looked after while it is waited for.
const look = 20 * time.Millisecond

// await waits for a state at or beyond want. other reports whether the other side
// still lives.
func (p *page) await(want uint32, other func() bool) error {
	for {
		now := atomic.LoadUint32(&p.state)
		switch {
		case now == stateFailed:
			return unix.Errno(atomic.LoadInt32(&p.errno))
		case now >= want:
			return nil
		}
		sys.AwaitWord(&p.state, now, look)
		if atomic.LoadUint32(&p.state) == now && !other() {
			return unix.ESRCH
		}
	}
}
