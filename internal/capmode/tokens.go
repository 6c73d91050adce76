package capmode

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// tokens stand for limited descriptors while they are in messages. A descriptor in
// a message has no number, so nothing says what it permits; and who receives it may
// be nobody's supervised process. So what is sent is an end of a pipe of ours: to a
// supervised receiver it is exchanged for what it stands for, and all others can
// read zeros from it.
type tokens struct {
	mu   sync.Mutex
	held map[pipeID]*token
	by   map[*process]int32 // how many each has sent
	most int32
}

// pipeID tells pipes from each other.
type pipeID struct{ dev, ino uint64 }

// token is what one pipe stands for.
type token struct {
	file *sys.FD
	caps filecaps.Caps
	end  *os.File // our end, which hears of the last copy of the other being closed
	id   pipeID
	by   *process
}

func (ts *tokens) init() {
	ts.held, ts.by, ts.most = make(map[pipeID]*token), make(map[*process]int32), int32(keepable()/2)
}

// wrap returns what stands for f, which it takes over. As in the kernel, a process may
// not have any number of descriptors under way (ETOOMANYREFS).
func (ts *tokens) wrap(f *sys.FD, caps filecaps.Caps, by *process) (*sys.FD, error) {
	ts.mu.Lock()
	few := within(ts.by[by]+1, int32(len(ts.held)), ts.most)
	ts.mu.Unlock()
	if !few {
		f.Close()
		return nil, unix.ETOOMANYREFS
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		f.Close()
		return nil, fmt.Errorf("make what stands for a descriptor: %w", err)
	}
	_, _ = unix.FcntlInt(uintptr(pipe[1]), unix.F_SETPIPE_SZ, 4096) // less memory for each
	end, given := os.NewFile(uintptr(pipe[1]), "token"), sys.NewFD(pipe[0])
	var st unix.Stat_t
	if err := unix.Fstat(given.Int(), &st); err != nil {
		return nil, errors.Join(err, f.Close(), end.Close(), given.Close())
	}
	tok := &token{f, caps, end, pipeID{uint64(st.Dev), st.Ino}, by}
	ts.mu.Lock()
	ts.held[tok.id] = tok
	ts.by[by]++
	ts.mu.Unlock()
	go ts.watch(tok)
	return given, nil
}

// find returns the token whose pipe is open under our number fd, nil if it is no
// token's. ts.mu is held.
func (ts *tokens) find(fd int) *token {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil
	}
	return ts.held[pipeID{uint64(st.Dev), st.Ino}]
}

// among reports whether any descriptor in a control buffer stands for a limited one.
func (ts *tokens) among(control []byte) (any bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	eachDescriptor(control, func(fd int) { any = any || ts.find(fd) != nil })
	return any
}

// unwrap returns what f stands for, as a descriptor of its own; f itself and
// everything if it stands for nothing.
func (ts *tokens) unwrap(f *sys.FD) (*sys.FD, filecaps.Caps) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	tok := ts.find(f.Int())
	if tok == nil {
		return f, filecaps.Full()
	}
	n, err := unix.FcntlInt(uintptr(tok.file.Int()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return f, filecaps.Full() // the pipe itself: nobody can do anything with it
	}
	return sys.NewFD(n), tok.caps
}

// watch lets go of a token once it is in no message any more, and in nobody's
// hands: then writing fails, which until then waits for room.
func (ts *tokens) watch(tok *token) {
	zeros := make([]byte, 4096)
	for {
		if _, err := tok.end.Write(zeros); err != nil {
			break
		}
	}
	ts.mu.Lock()
	delete(ts.held, tok.id)
	if ts.by[tok.by]--; ts.by[tok.by] == 0 {
		delete(ts.by, tok.by)
	}
	ts.mu.Unlock()
	tok.file.Close()
	tok.end.Close()
}
