package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// status is what /proc/TID/status says about a thread.
type status struct {
	tgid, ppid int
	state      byte
	threads    int
	umask      uint32
	uid, gid   [4]uint32 // real, effective, saved, file system
	groups     []uint32
	permitted  uint64
	effective  uint64

	// Signals: pending for the thread, pending for the process, blocked,
	// ignored.
	pending, shared, blocked, ignored uint64

	filters int // of seccomp
}

// identity is what the kernel judges the thread by.
func (st *status) identity() *sys.Identity {
	return &sys.Identity{RUID: st.uid[0], RGID: st.gid[0], EUID: st.uid[1], EGID: st.gid[1], FSUID: st.uid[3], FSGID: st.gid[3],
		Groups: st.groups, Effective: st.effective}
}

// realIdentity is what access(2) judges the thread by.
func (st *status) realIdentity() *sys.Identity {
	id := st.identity()
	id.FSUID, id.FSGID = st.uid[0], st.gid[0]
	id.Effective = 0
	if st.uid[0] == 0 {
		id.Effective = st.permitted
	}
	return id
}

var errStatus = errors.New("unexpected text in /proc/TID/status")

// statusField is a line that is read.
type statusField struct {
	place int // among all
	read  func(*status, []byte) error
}

// statusFields are the lines that are read; the rest is skipped.
var statusFields = sync.OnceValue(func() map[string]statusField {
	fields := map[string]statusField{}
	for key, read := range map[string]func(*status, []byte) error{
		"Tgid":    func(st *status, v []byte) error { return decimal(v, &st.tgid) },
		"PPid":    func(st *status, v []byte) error { return decimal(v, &st.ppid) },
		"Threads": func(st *status, v []byte) error { return decimal(v, &st.threads) },
		"State": func(st *status, v []byte) error {
			if len(v) == 0 {
				return errStatus
			}
			st.state = v[0]
			return nil
		},
		"Umask": func(st *status, v []byte) error {
			n, err := strconv.ParseUint(string(v), 8, 16)
			st.umask = uint32(n)
			return err
		},
		"Uid":    func(st *status, v []byte) error { return fourIDs(v, &st.uid) },
		"Gid":    func(st *status, v []byte) error { return fourIDs(v, &st.gid) },
		"Groups": func(st *status, v []byte) (err error) { st.groups, err = ids(v); return err },
		"CapPrm": func(st *status, v []byte) error { return hex(v, &st.permitted) },
		"CapEff": func(st *status, v []byte) error { return hex(v, &st.effective) },
		"SigPnd": func(st *status, v []byte) error { return hex(v, &st.pending) },
		"ShdPnd": func(st *status, v []byte) error { return hex(v, &st.shared) },
		"SigBlk": func(st *status, v []byte) error { return hex(v, &st.blocked) },
		"SigIgn": func(st *status, v []byte) error { return hex(v, &st.ignored) },

		"Seccomp_filters": func(st *status, v []byte) error { return decimal(v, &st.filters) },
	} {
		fields[key] = statusField{len(fields), read}
	}
	return fields
})

// parseStatus reads text, which must have each line once: the zero value of one that is
// missing would read as root.
func parseStatus(text []byte) (*status, error) {
	st := new(status)
	fields := statusFields()
	missing := uint32(1)<<len(fields) - 1
	for len(text) > 0 {
		line := text
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			line, text = text[:i], text[i+1:]
		} else {
			return nil, fmt.Errorf("%w: last line is cut off", errStatus)
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		field, ok := fields[string(key)]
		if !ok {
			continue
		}
		bit := uint32(1) << field.place
		if missing&bit == 0 || field.read(st, bytes.TrimSpace(value)) != nil {
			return nil, fmt.Errorf("%w: %q", errStatus, line)
		}
		missing &^= bit
	}
	// A dead thread has no umask and no groups left to speak of.
	if missing != 0 {
		return nil, fmt.Errorf("%w: lines are missing", errStatus)
	}
	return st, nil
}

func decimal(v []byte, to *int) (err error) {
	*to, err = strconv.Atoi(string(v))
	return err
}

func hex(v []byte, to *uint64) (err error) {
	*to, err = strconv.ParseUint(string(v), 16, 64)
	return err
}

func ids(v []byte) ([]uint32, error) {
	var list []uint32
	for _, f := range bytes.Fields(v) {
		n, err := strconv.ParseUint(string(f), 10, 32)
		if err != nil {
			return nil, err
		}
		list = append(list, uint32(n))
	}
	return list, nil
}

func fourIDs(v []byte, to *[4]uint32) error {
	list, err := ids(v)
	if err != nil {
		return err
	}
	if len(list) != len(to) {
		return errStatus
	}
	copy(to[:], list)
	return nil
}

// readProc reads the whole of a small file beneath proc. ESRCH and ENOENT are
// both ESRCH: the process is no more.
func readProc(proc *sys.FD, name string) ([]byte, error) {
	b, err := sys.ReadFileAt(proc.Int(), name)
	if err == unix.ENOENT {
		err = unix.ESRCH
	}
	return b, err
}

// readStatus returns the caller's status, read once for each call.
func (c *Call) readStatus() (*status, error) {
	if c.status != nil {
		return c.status, nil
	}
	st, err := c.freshStatus()
	if err == nil {
		c.status = st
	}
	return st, err
}

// freshStatus reads the caller's status now.
func (c *Call) freshStatus() (*status, error) {
	text, err := readProc(c.Proc(), strconv.Itoa(c.TID())+"/status")
	if err == unix.ESRCH {
		return nil, notify.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("read status of thread %d: %w", c.TID(), err)
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	return parseStatus(text)
}
