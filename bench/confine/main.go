// Command confine is measured by the bench: it confines itself with the library
// and prints how long that took, or executes a program with what it holds, or
// becomes large. Each line it prints is "name\tnumber".
//
//	confine calls FORM held directory count
//	confine forks FORM held directory count
//	confine limits
//	confine enter
//	confine many count
//	confine children count
//	confine shared megabytes
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "confine:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("nothing to do")
	}
	what, ok := map[string]func([]string) error{
		"calls": calls, "forks": forks, "limits": limits, "enter": enter, "many": many,
		"children": children, "shared": shared,
	}[args[0]]
	if !ok {
		return fmt.Errorf("%s: %w", args[0], unix.EINVAL)
	}
	return what(args[1:])
}

// file is what the timed calls are made on: everything they need, and no more.
var file = rights.Of(rights.Read, rights.Write, rights.Seek, rights.MmapR, rights.MmapW, rights.Event, rights.Fstat)

// held are the descriptors that are handed to the timed program.
type held struct {
	program, data, left, right, dir, beneath, queue int
}

// open opens them, confined as form says: "plain" not at all, "limited", "mode" for
// limited in capability mode, "crowd" for limited with 64 more limits, or one of
// alone.
func open(form, program, dir string) (h held, err error) {
	if h.program, err = unix.Open(program, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return h, fmt.Errorf("open %s: %w", program, err)
	}
	if h.dir, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0); err != nil {
		return h, fmt.Errorf("open %s: %w", dir, err)
	}
	if h.data, err = unix.Open(filepath.Join(dir, "data"), unix.O_RDWR, 0); err != nil {
		return h, fmt.Errorf("open data: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return h, fmt.Errorf("make sockets: %w", err)
	}
	h.left, h.right = pair[0], pair[1]
	if h.queue, err = unix.EpollCreate1(0); err != nil {
		return h, fmt.Errorf("make epoll: %w", err)
	}
	if form != "plain" {
		if err := h.confine(form); err != nil {
			return h, err
		}
	}
	if h.beneath, err = unix.Openat(h.dir, "data", unix.O_RDWR, 0); err != nil {
		return h, fmt.Errorf("open data beneath: %w", err)
	}
	return h, nil
}

func (h held) confine(form string) error {
	beneath := file
	beneath.Set(rights.Lookup, rights.Fstatat)
	for _, l := range []struct {
		on string // as the timed program has it
		fd int
		s  rights.Set
	}{
		{"f", h.data, file}, {"d", h.dir, beneath}, {"s", h.left, rights.Of(rights.Write)}, {"s", h.right, rights.Of(rights.Read)},
		{"q", h.queue, rights.Of(rights.KqueueEvent)},
	} {
		if slices.Contains(alone, form) && l.on != form {
			continue
		}
		if err := capsicum.LimitSetFD(l.fd, l.s); err != nil {
			return err
		}
	}
	if form == "crowd" {
		for range 64 {
			if err := capsicum.LimitFD(null(), rights.Write); err != nil {
				return err
			}
		}
	}
	if form == "mode" {
		return capsicum.Enter()
	}
	return nil
}

// null opens a descriptor to limit.
func null() int {
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	return fd
}

// alone are the forms in which only what the timed calls are on is limited: the
// file, the sockets, the directory, the queue.
var alone = []string{"f", "s", "d", "q"}

// calls times calls. In the form "alone" each is timed in a process that limits
// nothing else: limits can't be taken back.
func calls(args []string) error {
	if args[0] == "alone" {
		for _, on := range alone {
			cmd := exec.Command(os.Args[0], append([]string{"calls", on}, args[1:]...)...)
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("time calls on %s alone: %w", on, err)
			}
		}
		return nil
	}
	h, err := open(args[0], args[1], args[2])
	if err != nil {
		return err
	}
	on := strings.Join(alone, "")
	if slices.Contains(alone, args[0]) {
		on = args[0]
	}
	argv := []string{"held", args[3], on}
	for _, fd := range []int{h.data, h.left, h.right, h.dir, h.beneath, h.queue} {
		argv = append(argv, strconv.Itoa(fd))
	}
	return h.execute(argv)
}

func forks(args []string) error {
	h, err := open(args[0], args[1], args[2])
	if err != nil {
		return err
	}
	return h.execute([]string{"held", "fork", args[3], strconv.Itoa(h.data)})
}

// execute runs the timed program, which is held open, and waits for it.
func (h held) execute(argv []string) error {
	const what = "execute the timed program"
	var child script.Sequence
	child.Do(what, unix.SYS_EXECVEAT, h.program, script.String(""), script.Strings(argv), script.Strings(nil), unix.AT_EMPTY_PATH)
	pid, err := script.Start(unix.CLONE_VM|uintptr(unix.SIGCHLD), &child)
	if err != nil {
		return fmt.Errorf("fork: %w", err)
	}
	defer runtime.KeepAlive(&child)
	var status unix.WaitStatus
	if err := sys.Retry(func() error { _, err := unix.Wait4(pid, &status, 0, nil); return err }); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if err := child.Err(); err != nil {
		return err
	}
	if status.ExitStatus() != 0 && status.Signal() != unix.SIGKILL {
		return fmt.Errorf("the timed program ended with %#x", status)
	}
	return nil
}

// timed prints how long do took, divided by n.
func timed(name string, n int, do func() error) error {
	from := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Printf("%s\t%d\n", name, int(time.Since(from))/n)
	return nil
}

// limits times the first limit, and later ones.
func limits([]string) error {
	first := null()
	err := timed("first Limit", 1, func() error { return capsicum.LimitFD(first, rights.Read, rights.Event) })
	if err != nil {
		return err
	}
	if err := memory("supervisor"); err != nil {
		return err
	}
	const n = 50
	fds := make([]int, n)
	for i := range fds {
		fds[i] = null()
	}
	less := rights.All()
	for i, r := range []rights.Right{rights.Fchmod, rights.Fchown} {
		less.Clear(r)
		set := func() error { return each(fds, func(fd int) error { return capsicum.LimitSetFD(fd, less) }) }
		if i == 0 { // fills caches
			err = set()
		} else {
			err = timed("Limit without a filter", n, set)
		}
		if err != nil {
			return err
		}
	}
	for i, r := range []rights.Right{rights.Read, rights.Write, rights.Event} {
		part := fds[i*15 : i*15+15]
		if err := timed(fmt.Sprintf("Limit with a filter, %d to %d", i*15+1, i*15+15), len(part), func() error {
			return each(part, func(fd int) error { return capsicum.LimitFD(fd, r) })
		}); err != nil {
			return err
		}
	}
	return timed("Enter after Limit", 1, capsicum.Enter)
}

func each(fds []int, do func(int) error) error {
	for _, fd := range fds {
		if err := do(fd); err != nil {
			return err
		}
	}
	return nil
}

func enter([]string) error { return timed("first Enter", 1, capsicum.Enter) }

// many makes many limited descriptors, in each of the ways to make them.
func many(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	if err := raise(); err != nil {
		return err
	}
	dir, err := unix.Open("/dev", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	if err := capsicum.LimitFD(dir, rights.Lookup, rights.Read, rights.Seek, rights.Fstat); err != nil {
		return err
	}
	// Below 256 each limit is a filter; whoever has thousands has them above.
	low := make([]int, 0, 256)
	for fd := null(); fd < 256; fd = null() {
		low = append(low, fd)
	}
	fds := make([]int, n)
	for i := range fds {
		fds[i] = null()
	}
	if err := memory("before"); err != nil {
		return err
	}
	if err := timed("limit", n, func() error {
		return each(fds, func(fd int) error { return capsicum.LimitFD(fd, rights.Write, rights.Fstat) })
	}); err != nil {
		return err
	}
	if err := memory("after"); err != nil {
		return err
	}
	if err := each(append(fds, low...), unix.Close); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return copies(dir, n)
}

// raise makes room for as many descriptors as may be.
func raise() error {
	var nofile unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &nofile); err != nil {
		return fmt.Errorf("get limit: %w", err)
	}
	nofile.Cur = nofile.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &nofile); err != nil {
		return fmt.Errorf("raise limit: %w", err)
	}
	return nil
}

// copies times what makes limited descriptors of limited directory dir.
func copies(dir, n int) error {
	made := make([]int, n)
	for _, way := range []struct {
		name string
		make func() (int, error)
	}{
		{"dup", func() (int, error) { return unix.Dup(dir) }},
		{"openat", func() (int, error) { return unix.Openat(dir, "null", unix.O_RDONLY, 0) }},
	} {
		if err := timed(way.name, n, func() (err error) {
			for i := range made {
				if made[i], err = way.make(); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		if err := timed("close after "+way.name, n, func() error { return each(made, unix.Close) }); err != nil {
			return err
		}
	}
	return nil
}

// memory prints the resident size of our supervisor.
func memory(name string) error {
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	want := fmt.Sprintf("capsicum: supervisor of\x00%d\x00", os.Getpid())
	for _, cmdline := range procs {
		text, err := os.ReadFile(cmdline)
		if err != nil || string(text) != want {
			continue
		}
		text, err = os.ReadFile(filepath.Join(filepath.Dir(cmdline), "status"))
		if err != nil {
			return fmt.Errorf("read size: %w", err)
		}
		for line := range bytes.Lines(text) {
			if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
				kb, err := strconv.Atoi(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))))
				if err != nil {
					return fmt.Errorf("read size: %w", err)
				}
				fmt.Printf("resident, %s\t%d\n", name, kb<<10)
				return nil
			}
		}
	}
	return fmt.Errorf("find the supervisor of %d: %w", os.Getpid(), unix.ESRCH)
}
