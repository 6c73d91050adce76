package launch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

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
	Engine policy.Engine
	Linger bool
	State  string // the landlock engine's private directory on the host

	// The rest is not written.
	Library  bool // the program may confine itself, with our supervisor
	Env      []string
	Net      bool
	Hostname string
	Limits   []policy.Limit
	FDs      []inherited // what the program keeps, 0, 1 and 2 included
}

// pidSize is what init writes before everything else in the setup file: the
// program's pid, 32 bits.
const pidSize = 4

// newSetupFile makes the memory file for the setup.
func newSetupFile() (*sys.FD, error) {
	fd, err := unix.MemfdCreate("capsicum-setup", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create setup file: %w", err)
	}
	return sys.NewFD(fd), nil
}

// write writes s to f for the supervisor.
func (s *setup) write(f *sys.FD) error {
	var e encoder
	e.setup(s)
	for b, at := e.b, int64(pidSize); len(b) > 0; {
		n, err := unix.Pwrite(f.Int(), b, at)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("write setup: %w", err)
		}
		b, at = b[max(n, 0):], at+int64(max(n, 0))
	}
	return nil
}

// readSetup reads and checks what the front and init wrote. It came from our own
// parent, but it decides everything, so it is checked like any other input.
func readSetup(f *os.File) (s *setup, pid int, err error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, math.MaxInt64))
	if err != nil {
		return nil, 0, fmt.Errorf("read setup: %w", err)
	}
	return parseSetup(b)
}

func parseSetup(b []byte) (s *setup, pid int, err error) {
	if len(b) < pidSize {
		return nil, 0, fmt.Errorf("read setup of %d bytes: %w", len(b), unix.EBADMSG)
	}
	if pid = int(int32(binary.NativeEndian.Uint32(b))); pid <= 0 {
		return nil, 0, fmt.Errorf("read setup: program's pid %d: %w", pid, unix.EINVAL)
	}
	d := decoder{b: b[pidSize:]}
	if s = d.setup(); len(d.b) > 0 {
		d.fail()
	}
	if d.err != nil {
		return nil, 0, d.err
	}
	if engines[s.Engine] == nil {
		return nil, 0, fmt.Errorf("read setup: engine %q: %w", s.Engine, unix.EINVAL)
	}
	if err := s.Plan.Validate(); err != nil {
		return nil, 0, fmt.Errorf("read setup: %w", err)
	}
	return s, pid, nil
}

// report is what one half tells the other, one packet each. A started report
// carries a pidfd of the program, an asked report a socket.
type report struct {
	Kind        reportKind
	Status      uint32 // wait status of the program
	Errno       uint32 // refused: why
	Exit        uint32 // refused: the status to end with
	Unavailable bool   // refused: the engine cannot work here; another may
	Message     string // refused: why
}

type reportKind uint8

// From the front come heard, ready and asked, from init and the supervisor the others.
const (
	reportStarted reportKind = iota + 1 // the program is about to be executed
	reportHeard                         // the answer to started: the front knows the program
	reportReady                         // the setup is written
	reportAsked                         // where the supervisor is asked, attached: a socket of package roster
	reportStopped
	reportContinued
	reportExited
	reportRefused
	reportKinds
)

// reportHeader is the length of a report without its message: kind and
// unavailable in a byte each, then status, errno, and exit.
const reportHeader = 14

// maxReport bounds a packet; a message is cut to fit.
const maxReport = 8 << 10

// encode is r as a packet.
func (r report) encode() []byte {
	b := make([]byte, 2, reportHeader+len(r.Message))
	b[0] = byte(r.Kind)
	if r.Unavailable {
		b[1] = 1
	}
	for _, word := range []uint32{r.Status, r.Errno, r.Exit} {
		b = binary.NativeEndian.AppendUint32(b, word)
	}
	b = append(b, r.Message...)
	return b[:min(len(b), maxReport)]
}

// decodeReport reads what encode wrote.
func decodeReport(b []byte) (report, error) {
	if len(b) < reportHeader || b[0] == 0 || b[0] >= byte(reportKinds) || b[1] > 1 {
		return report{}, fmt.Errorf("decode report of %d bytes: %w", len(b), unix.EBADMSG)
	}
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(b[2+4*i:]) }
	return report{
		Kind: reportKind(b[0]), Unavailable: b[1] == 1,
		Status: word(0), Errno: word(1), Exit: word(2), Message: string(b[reportHeader:]),
	}, nil
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

// send writes one report, with fd attached unless it is negative.
func (c channel) send(r report, fd int) error {
	var oob []byte
	if fd >= 0 {
		oob = unix.UnixRights(fd)
	}
	return sys.Retry(func() error { return unix.Sendmsg(c.fd, r.encode(), oob, nil, unix.MSG_NOSIGNAL) })
}

// receive reads one report. It returns io.EOF when the other end is gone.
func (c channel) receive() (report, *sys.FD, error) {
	buf, oob := make([]byte, maxReport), make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	err := sys.Retry(func() (err error) {
		n, oobn, _, _, err = unix.Recvmsg(c.fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.ECONNRESET { // once, of an end that is gone and had not read everything
			err = unix.EINTR
		}
		return err
	})
	if err != nil {
		return report{}, nil, fmt.Errorf("receive report: %w", err)
	}
	if n == 0 {
		return report{}, nil, io.EOF
	}
	var fd *sys.FD
	if fds := attached(oob[:oobn]); len(fds) > 0 {
		fd = fds[0]
	}
	r, err := decodeReport(buf[:n])
	if err != nil {
		return report{}, nil, errors.Join(err, fd.Close())
	}
	return r, fd, nil
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

func (c *channel) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	c.fd = -1
}
