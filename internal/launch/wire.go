package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/syscalls"
)

// setup is everything about a run. The supervisor gets, once, in a memory file,
// what its answers depend on; the rest is spent between fork and exec.
type setup struct {
	Plan   *plan.Plan
	Filter syscalls.Options // what the filter was generated for
	Held   []plan.Entry     // inherited descriptors with limited rights

	Engine   policy.Engine  `json:"-"`
	Env      []string       `json:"-"`
	Net      bool           `json:"-"`
	Hostname string         `json:"-"`
	Limits   []policy.Limit `json:"-"`
	Linger   bool           `json:"-"`
	FDs      []inherited    `json:"-"` // what the program keeps, 0, 1 and 2 included
	State    string         `json:"-"` // the landlock engine's private directory on the host
}

// report is what stage two tells the front, one packet each. A started report
// carries a pidfd of the program.
type report struct {
	Kind        reportKind
	Status      uint32 `json:",omitempty"` // wait status of the program
	Message     string `json:",omitempty"` // why the start was refused
	Errno       int    `json:",omitempty"`
	Exit        int    `json:",omitempty"` // status that a refused start ends with
	Unavailable bool   `json:",omitempty"` // the engine cannot work here; another may
}

type reportKind string

const (
	reportLoaded    reportKind = "loaded" // the supervisor runs
	reportStarted   reportKind = "started"
	reportHeard     reportKind = "heard" // the front's answer to started
	reportStopped   reportKind = "stopped"
	reportContinued reportKind = "continued"
	reportExited    reportKind = "exited"
	reportRefused   reportKind = "refused"
)

// maxReport bounds a packet; a refusal's message is cut to fit.
const maxReport = 16 << 10

// Refused says why the sandbox was not started. Exit is the status to end with.
type Refused struct {
	Exit        int
	Message     string
	Errno       syscall.Errno
	unavailable bool
}

func (r *Refused) Error() string { return r.Message }

// Unwrap makes the errno reachable, as if the refusal had happened in this process.
func (r *Refused) Unwrap() error {
	if r.Errno == 0 {
		return nil
	}
	return r.Errno
}

// refusal turns an error of stage two into a report.
func refusal(err error) report {
	rep := report{Kind: reportRefused, Message: err.Error(), Exit: exitRefused}
	var known *Refused
	if errors.As(err, &known) {
		rep.Exit, rep.Unavailable = known.Exit, known.unavailable
	}
	rep.Errno = int(errnoOf(err))
	if len(rep.Message) > maxReport/2 {
		rep.Message = rep.Message[:maxReport/2]
	}
	return rep
}

// sealed writes s to a memory file that stage two inherits.
func (s *setup) sealed() (*os.File, error) {
	fd, err := unix.MemfdCreate("capsicum-setup", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create setup file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "capsicum-setup")
	if err := json.NewEncoder(f).Encode(s); err != nil {
		f.Close()
		return nil, fmt.Errorf("write setup: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, fmt.Errorf("rewind setup: %w", err)
	}
	return f, nil
}

// readSetup reads and checks what the front wrote. It came from our own parent,
// but it decides everything, so it is checked like any other input.
func readSetup(f *os.File) (*setup, error) {
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	s := new(setup)
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("read setup: %w", err)
	}
	if s.Plan == nil {
		return nil, errors.New("read setup: no plan")
	}
	if err := s.Plan.Validate(); err != nil {
		return nil, fmt.Errorf("read setup: %w", err)
	}
	return s, nil
}

// channel is one end of the packet socket between the front and stage two.
type channel struct{ fd int }

// newChannel makes both ends.
func newChannel() (front, stage channel, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return channel{-1}, channel{-1}, fmt.Errorf("create control socket: %w", err)
	}
	return channel{fds[0]}, channel{fds[1]}, nil
}

// send writes one report, with pidfd attached unless it is negative.
func (c channel) send(r report, pidfd int) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	var oob []byte
	if pidfd >= 0 {
		oob = unix.UnixRights(pidfd)
	}
	return sys.Retry(func() error { return unix.Sendmsg(c.fd, b, oob, nil, unix.MSG_NOSIGNAL) })
}

// receive reads one report. It returns io.EOF when the other end is gone.
func (c channel) receive() (report, *sys.FD, error) {
	buf, oob := make([]byte, maxReport), make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	err := sys.Retry(func() (err error) {
		n, oobn, _, _, err = unix.Recvmsg(c.fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return report{}, nil, fmt.Errorf("receive report: %w", err)
	}
	if n == 0 {
		return report{}, nil, io.EOF
	}
	var pidfd *sys.FD
	if fds := attached(oob[:oobn]); len(fds) > 0 {
		pidfd = fds[0]
	}
	var r report
	if err := json.Unmarshal(buf[:n], &r); err != nil {
		return report{}, nil, errors.Join(fmt.Errorf("decode report: %w", err), pidfd.Close())
	}
	return r, pidfd, nil
}

// attached takes the descriptors out of a control message.
func attached(oob []byte) []*sys.FD {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) == 0 {
		return nil
	}
	numbers, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return nil
	}
	fds := make([]*sys.FD, len(numbers))
	for i, n := range numbers {
		fds[i] = sys.NewFD(n)
	}
	return fds
}

func (c channel) close() { unix.Close(c.fd) }
