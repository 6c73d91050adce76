package roster

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// prefix begins the name of each supervisor's socket. What follows is random: a name
// that can be known before could be taken before.
const prefix = "@capsicum: supervisor/"

const (
	backlog  = 4
	pause    = 10 * time.Millisecond  // between answers, so that nobody keeps a supervisor busy
	tooLong  = 200 * time.Millisecond // for who asks to read
	patience = 2 * time.Second        // of who asks: the machine may be busy
	atOnce   = 256                    // supervisors that are asked at a time
	maxNames = 1 << 16
)

// Bind makes a supervisor's socket, with a name in the network namespace of whoever
// calls this.
func Bind() (*sys.FD, error) {
	n, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	s := sys.NewFD(n)
	var unknown [8]byte
	if _, err = unix.Getrandom(unknown[:], unix.GRND_NONBLOCK); err == nil {
		err = unix.Bind(n, &unix.SockaddrUnix{Name: prefix + hex.EncodeToString(unknown[:])})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("name socket: %w", err), s.Close())
	}
	return s, nil
}

// Serve answers whoever connects to s, which [Bind] has made, and may know, with what
// list returns. It comes back only when it can't. It is the supervisor who calls it,
// also where another process made s: the kernel tells everybody who listens.
func Serve(s *sys.FD, list func() Answer) error {
	defer s.Close()
	if err := unix.Listen(s.Int(), backlog); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	for {
		var c int
		err := sys.Retry(func() (err error) { c, _, err = unix.Accept4(s.Int(), unix.SOCK_CLOEXEC); return err })
		switch {
		case err == nil:
			reply(sys.NewFD(c), list)
		case errors.Is(err, unix.EBADF), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSOCK):
			return fmt.Errorf("accept: %w", err)
		}
		time.Sleep(pause)
	}
}

// reply writes an answer to c, unless whoever connected is another user. One that does
// not read it does not get all of it.
func reply(c *sys.FD, list func() Answer) {
	defer c.Close()
	who, err := unix.GetsockoptUcred(c.Int(), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || int(who.Uid) != os.Geteuid() && who.Uid != 0 {
		return
	}
	text := list().Bytes()
	for end := time.Now().Add(tooLong); len(text) > 0; {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		limit := unix.NsecToTimeval(int64(left))
		if unix.SetsockoptTimeval(c.Int(), unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit) != nil {
			return
		}
		n, err := unix.SendmsgN(c.Int(), text, nil, nil, unix.MSG_NOSIGNAL)
		if err != nil && err != unix.EINTR {
			return
		}
		text = text[max(n, 0):]
	}
}

// ask asks every supervisor of this network namespace that is wanted, and returns what
// each has answered, by its number. Others that have such a name are not listened to.
func ask(wanted map[int]bool) (map[int]Answer, error) {
	names, err := names()
	if err != nil || len(wanted) == 0 {
		return nil, err
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	answers, free := map[int]Answer{}, make(chan struct{}, atOnce)
	for _, name := range names {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			if pid, a, err := askOne(name, wanted); err == nil {
				mu.Lock()
				answers[pid] = a
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return answers, nil
}

// names lists the names of supervisors' sockets.
func names() ([]string, error) {
	f, err := os.Open("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []string
	for lines := bufio.NewScanner(f); lines.Scan() && len(list) < maxNames; {
		if _, name, found := strings.Cut(lines.Text(), " "+prefix); found {
			list = append(list, prefix+name)
		}
	}
	// A connection has the name of the socket that it came from.
	slices.Sort(list)
	return slices.Compact(list), nil
}

// askOne asks whoever listens under a name, if it is wanted.
func askOne(name string, wanted map[int]bool) (int, Answer, error) {
	who, text, err := hear(name, wanted, connect)
	if err == nil && len(text) == 0 && os.Geteuid() == 0 && who.Uid != 0 {
		// In a user namespace with only its own user root is a stranger. It may ask as
		// that user.
		who, text, err = hear(name, wanted, func(fd int, name string, until time.Time) error {
			return as(who.Uid, func() error { return connect(fd, name, until) })
		})
	}
	if err != nil {
		return 0, Answer{}, err
	}
	a, err := Parse(text)
	return int(who.Pid), a, err
}

// hear connects to a name, and reads what is said there if whoever listens is wanted:
// the kernel says who does.
func hear(name string, wanted map[int]bool, connect func(int, string, time.Time) error) (who *unix.Ucred, text []byte, err error) {
	n, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	s := sys.NewFD(n)
	defer s.Close()
	deadline := time.Now().Add(patience)
	if err := connect(n, name, deadline); err != nil {
		return nil, nil, err
	}
	if who, err = unix.GetsockoptUcred(n, unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil || !wanted[int(who.Pid)] {
		return nil, nil, errors.Join(err, errFormat)
	}
	text, err = io.ReadAll(io.LimitReader(&reader{n, deadline}, maxAnswer+1))
	return who, text, err
}

// connect connects a socket, which others may do at the same time.
func connect(fd int, name string, until time.Time) error {
	for {
		err := unix.Connect(fd, &unix.SockaddrUnix{Name: name})
		if err != unix.EAGAIN && err != unix.EINTR || time.Now().After(until) {
			return err
		}
		time.Sleep(pause)
	}
}

// as calls f as another user, on a thread that ends with it.
func as(uid uint32, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		base, err := sys.ThreadIdentity()
		if err == nil {
			want := *base
			want.EUID = uid
			err = sys.Assume(base, &want)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// reader reads until a deadline.
type reader struct {
	fd       int
	deadline time.Time
}

func (r *reader) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(r.fd, b)
		switch {
		case err == nil && n == 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case err != unix.EAGAIN && err != unix.EINTR:
			return 0, err
		}
		left := time.Until(r.deadline)
		if left <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
		list := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(list, int(left.Milliseconds())+1); err != nil && err != unix.EINTR {
			return 0, err
		}
	}
}
