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
	by   map[*process]int32 // how many each has under way
	all  int32
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

// admit counts one more for by. As in the kernel a process may not have any number of
// descriptors under way (ETOOMANYREFS). What those have sent that have ended is dropped
// where it leaves too little: a socket in its own queue stays there, and a row of
// processes could use up everything so, one after another.
func (ts *tokens) admit(by *process) error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for !within(ts.by[by]+1, ts.all, ts.most) {
		if !ts.dropDead() {
			return unix.ETOOMANYREFS
		}
	}
	ts.by[by]++
	ts.all++
	return nil
}

// dropDead drops what the process has under way that has most, of those that have ended;
// false if there is none. ts.mu is held.
func (ts *tokens) dropDead() bool {
	has := make(map[*process]int)
	for _, tok := range ts.held {
		has[tok.by]++
	}
	var of *process
	for p, n := range has {
		if n > has[of] && p.dead() {
			of = p
		}
	}
	if of == nil {
		return false
	}
	for _, tok := range ts.held {
		if tok.by == of {
			ts.drop(tok)
			tok.end.Close() // and its watch ends
		}
	}
	return true
}

// drop forgets a token, which nobody can be given any more. ts.mu is held.
func (ts *tokens) drop(tok *token) {
	if ts.held[tok.id] == tok {
		delete(ts.held, tok.id)
		ts.leave(tok.by)
	}
}

// leave undoes admit. ts.mu is held.
func (ts *tokens) leave(by *process) {
	ts.all--
	if ts.by[by]--; ts.by[by] == 0 {
		delete(ts.by, by)
	}
}

// wrap returns what stands for f, which it takes over.
func (ts *tokens) wrap(f *sys.FD, caps filecaps.Caps, by *process) (*sys.FD, error) {
	if err := ts.admit(by); err != nil {
		f.Close()
		return nil, err
	}
	tok, given, err := makeToken(f, caps, by)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if err != nil {
		ts.leave(by)
		f.Close()
		return nil, fmt.Errorf("make what stands for a descriptor: %w", err)
	}
	ts.held[tok.id] = tok
	go ts.watch(tok)
	return given, nil
}

// makeToken returns also the end of the pipe that is sent.
func makeToken(f *sys.FD, caps filecaps.Caps, by *process) (*token, *sys.FD, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, nil, err
	}
	_, _ = unix.FcntlInt(uintptr(pipe[1]), unix.F_SETPIPE_SZ, 4096) // less memory for each
	end, given := os.NewFile(uintptr(pipe[1]), "token"), sys.NewFD(pipe[0])
	var st unix.Stat_t
	if err := unix.Fstat(given.Int(), &st); err != nil {
		return nil, nil, errors.Join(err, end.Close(), given.Close())
	}
	return &token{f, caps, end, pipeID{uint64(st.Dev), st.Ino}, by}, given, nil
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
	ts.drop(tok)
	ts.mu.Unlock()
	tok.file.Close()
	tok.end.Close()
}
