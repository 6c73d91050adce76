//go:build linux || freebsd

package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// childEnv holds the order of a process that runs cases.
const childEnv = "CAPSICUM_CONFORMANCE"

// order is what a child is told to do.
type order struct {
	Cases   []string
	Dir     string
	In      phase
	Static  bool
	Threads bool
}

// result is what a child says of a case, one line each.
type result struct {
	Case    string
	Outcome string // "success", an errno's name, or what else ended it
	Failure string // "" when it came out as it must
}

// child runs the cases of an order and returns the exit status.
func child(text string) int {
	// A collection at the wrong moment would stop a process that has forked.
	debug.SetGCPercent(-1)
	// The first timer makes the runtime open descriptors, which it can not do
	// without.
	time.Sleep(time.Microsecond)
	if fd, asked := strings.CutPrefix(text, askPrefix); asked {
		return answer(fd)
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, "read order:", err)
		return 2
	}
	known := byName()
	type made struct {
		c    Case
		call func() error
		err  error
	}
	var list []made
	for i, name := range o.Cases {
		m := made{c: known[name]}
		t := &T{Dir: fmt.Sprintf("%s/%d", o.Dir, i)}
		m.err = guard(func() error {
			stop("mkdir", os.MkdirAll(t.Dir, 0o700))
			m.call = m.c.Make(t)
			return nil
		})
		list = append(list, m)
	}
	var free atomic.Bool
	if o.Threads {
		spin(&free)
	}
	if err := first(o); err != nil {
		fmt.Fprintln(os.Stderr, "first call:", err)
		return 2
	}
	free.Store(!slices.ContainsFunc(list, func(m made) bool { return m.c.Quiet }))
	for _, m := range list {
		if m.err != nil {
			say(result{m.c.Name, "untried", "it cannot be tried: " + m.err.Error()})
			continue
		}
		err := guard(m.call)
		say(result{m.c.Name, describe(err), judge(m.c, err, o.Static)})
	}
	return 0
}

// askPrefix begins the order to say whether a descriptor has the rights to read and
// for its status, and to take more of them.
const askPrefix = "ask:"

func answer(number string) int {
	fd, err := strconv.Atoi(number)
	if err == nil {
		err = guard(func() error {
			return all(hasRights(fd, rights.Of(rights.Read, rights.Fstat)), failing("write", write(fd), notCapable), read(fd),
				failing("widen", lib.LimitFD(fd, rights.Write), notCapable), lib.LimitFD(fd, rights.Fstat),
				failing("read", read(fd), notCapable), fstat(fd), hasRights(fd, rights.Of(rights.Fstat)))
		})
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// judge returns what is wrong with an outcome.
func judge(c Case, err error, static bool) string {
	if w := c.want(static); !w.met(err) {
		if err == nil {
			return fmt.Sprintf("got success, want %s", w)
		}
		return fmt.Sprintf("got %s (%v), want %s", describe(err), err, w)
	}
	return ""
}

// guard runs a step of a case and returns what ended it.
func guard(f func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case abort:
			err = p.err
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

func say(r result) {
	line, err := json.Marshal(r)
	if err == nil {
		_, err = unix.Write(1, append(line, '\n'))
	}
	if err != nil {
		panic(err)
	}
}

// first makes the first call of the package that the phase asks for. In the static
// column it is made with no descriptor to be had, so that there is no supervisor.
func first(o order) error {
	if !o.Static {
		if o.In == entered {
			return lib.Enter()
		}
		return nil
	}
	zero, err := unix.Open("/dev/zero", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		return err
	}
	next, err := unix.Dup(zero)
	if err != nil {
		return err
	}
	if err := unix.Close(next); err != nil {
		return err
	}
	low := was
	setCur(&low, next)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		return err
	}
	if _, err := unix.Dup(zero); !errors.Is(err, unix.EMFILE) {
		return fmt.Errorf("a descriptor can still be had: %w", err)
	}
	if o.In == entered {
		err = lib.Enter()
	} else {
		err = lib.LimitFD(zero, rights.Read)
	}
	if err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
}

// spin starts a thread that never rests long, making calls that are always
// permitted; those that make descriptors, only when it is free to.
func spin(free *atomic.Bool) {
	zero, err := unix.Open("/dev/zero", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	started := make(chan bool)
	go func() {
		runtime.LockOSThread()
		close(started)
		buf := make([]byte, 64)
		for i := 0; ; i++ {
			unix.Getpid()
			if _, err := unix.Read(zero, buf); err != nil {
				panic(err)
			}
			if free.Load() {
				fd, err := unix.Dup(zero)
				if err == nil {
					err = unix.Close(fd)
				}
				if err != nil {
					panic(fmt.Sprintf("dup and close beside the case: %v", err))
				}
			}
			if i%16 == 0 {
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	<-started
}
