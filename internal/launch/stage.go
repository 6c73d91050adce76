package launch

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// stageName is argv[0] of stage two. The control socket's number follows it.
const stageName = "capsicum: supervisor"

// Stage turns this process into stage two if it was started as such, and then
// never returns. Every main that starts sandboxes calls it before anything else.
func Stage() {
	if len(os.Args) != 2 || os.Args[0] != stageName {
		return
	}
	ctl, err := strconv.Atoi(os.Args[1])
	if err != nil || ctl < 3 {
		fmt.Fprintf(os.Stderr, "capsicum: stage two: bad control descriptor %q\n", os.Args[1])
		os.Exit(exitRefused)
	}
	os.Exit(second(channel{ctl}, os.NewFile(uintptr(ctl+1), "capsicum-setup")))
}

// second is stage two: it builds the sandbox, starts the program, and then is
// the sandbox's supervisor and init until the program has ended.
func second(ctl channel, setupFile *os.File) int {
	// Little is allocated before the program runs. A collection would stop the
	// world while a vforked child waits for this very process to answer it.
	gc := debug.SetGCPercent(-1)
	if runtime.GOMAXPROCS(0) < 4 {
		runtime.GOMAXPROCS(4)
	}
	// A terminal's signals are meant for the program, and one sent by the
	// program must not end its own supervisor.
	if err := sys.Deafen(); err != nil {
		return tell(ctl, err)
	}
	if err := sys.CloexecFrom(3); err != nil {
		return tell(ctl, fmt.Errorf("mark descriptors close-on-exec: %w", err))
	}
	s, err := readSetup(setupFile)
	if err != nil {
		return tell(ctl, err)
	}
	setupFile.Close()
	sb, err := build(s)
	if err != nil {
		return tell(ctl, err)
	}
	if err := sb.start(ctl); err != nil {
		sb.destroy()
		return tell(ctl, err)
	}
	debug.SetGCPercent(gc)
	go watchFront(ctl, sb)
	return sb.reap(ctl)
}

// tell reports why the start was refused.
func tell(ctl channel, err error) int {
	if sendErr := ctl.send(refusal(err), -1); sendErr != nil {
		fmt.Fprintf(os.Stderr, "capsicum: %v\n", errors.Join(err, sendErr))
	}
	return exitRefused
}

// watchFront ends the sandbox when the front is gone before the program: nobody
// is left to hear how it ends.
func watchFront(ctl channel, sb *sandbox) {
	for {
		if _, _, err := ctl.receive(); err != nil {
			if sb.lingering.Load() {
				return
			}
			sb.destroy()
			unix.Exit(exitRefused)
		}
	}
}
