package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/launch"
	"github.com/capsicum-go/capsicum/internal/policy"
)

// statusSchema names the form of the lines on --status-fd. A field may be
// added under the same number; a changed or removed one needs the next.
const statusSchema = "capsicum.status/1"

// statusLine is one line of --status-fd.
type statusLine struct {
	Schema  string    `json:"schema"`
	Event   string    `json:"event"` // started, stopped, continued, exited, refused
	Time    time.Time `json:"time"`
	Engine  string    `json:"engine,omitempty"`
	PID     int       `json:"pid,omitempty"`    // absent if it ended before it could be looked at
	Exit    *int      `json:"exit,omitempty"`   // exited, refused: the status capsicum ends with
	Signal  int       `json:"signal,omitempty"` // stopped, exited by one
	Message string    `json:"message,omitempty"`
}

// statusFile is where the lines go; nil writes none.
type statusFile struct{ f *os.File }

// statusFile checks --status-fd. It must not be the program's too: whoever
// reads the lines believes that we wrote them.
func (c *runCmd) statusFile(p *policy.Policy) (*statusFile, error) {
	if c.StatusFD == "" {
		return nil, nil
	}
	flag := "--status-fd " + shown(c.StatusFD)
	n, err := strconv.ParseUint(c.StatusFD, 10, 20)
	if err != nil {
		return nil, &flagError{flag, errors.New("not a descriptor number"), "write a number, e.g. --status-fd 3"}
	}
	fd := int(n)
	if !inherited(fd) {
		return nil, &flagError{flag, unix.EBADF, fmt.Sprintf("open it for capsicum first: capsicum --status-fd %d … %d>FILE", fd, fd)}
	}
	for _, granted := range p.FDs {
		if granted.Num == fd {
			return nil, &flagError{flag, fmt.Errorf("descriptor %d is the program's by %s", fd, granted.Flag), "use another number"}
		}
	}
	mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, &flagError{flag, err, ""}
	}
	if mode&unix.O_ACCMODE == unix.O_RDONLY {
		return nil, &flagError{flag, errors.New("it is open for reading only"), "open it for writing"}
	}
	// A copy of our own: the slot 0, 1 or 2 stays what it is for the program.
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, &flagError{flag, err, ""}
	}
	return &statusFile{os.NewFile(uintptr(own), "status")}, nil
}

// event writes what happened to the program.
func (s *statusFile) event(e launch.Event) {
	line := statusLine{Event: e.Type, Time: e.Time, Engine: string(e.Engine), PID: e.PID, Signal: e.Signal}
	if e.Type == "exited" {
		line.Exit = &e.Exit
	}
	s.write(line)
}

// refused writes that nothing was started, and why.
func (s *statusFile) refused(exit int, why string) {
	s.write(statusLine{Event: "refused", Time: time.Now(), Exit: &exit, Message: why})
}

// write is silent about a reader that went away: the program's run is worth
// more than its log.
func (s *statusFile) write(line statusLine) {
	if s == nil {
		return
	}
	line.Schema = statusSchema
	if text, err := json.Marshal(line); err == nil {
		_, _ = s.f.Write(append(text, '\n'))
	}
}
