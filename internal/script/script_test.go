package script

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// The assembly knows these numbers.
func TestLayout(t *testing.T) {
	var s step
	for what, got := range map[string][2]uintptr{
		"args":    {unsafe.Offsetof(s.args), 8},
		"deref":   {unsafe.Offsetof(s.deref), 56},
		"out":     {unsafe.Offsetof(s.out), 64},
		"forgive": {unsafe.Offsetof(s.forgive), 72},
		"kind":    {unsafe.Offsetof(s.kind), 80},
		"jump":    {unsafe.Offsetof(s.jump), 88},
		"report":  {unsafe.Offsetof(s.report), 96},
		"size":    {stepSize, 104},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %d, the assembly has %d", what, got[0], got[1])
		}
	}
}

const fork = unix.CLONE_VM | uintptr(unix.SIGCHLD)

func status(t *testing.T, pid int) unix.WaitStatus {
	t.Helper()
	var st unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &st, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
}

func TestExecute(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	var s Sequence
	fd := NewValue()
	s.Do("open", unix.SYS_OPENAT, unix.AT_FDCWD, String(out), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600).Into(fd)
	s.Do("forgiven", unix.SYS_MKDIRAT, unix.AT_FDCWD, String("/"), 0o700).Forgive(unix.EEXIST)
	s.Do("redirect", unix.SYS_DUP3, fd, 1, 0)
	if err := s.RestoreSignals(); err != nil {
		t.Fatal(err)
	}
	s.Do("execute", unix.SYS_EXECVE, String("/bin/sh"), Strings([]string{"sh", "-c", "echo $X; kill -0 $$; exit 7"}), Strings([]string{"X=yes"}))
	pid, err := Start(fork, &s)
	if err != nil {
		t.Fatal(err)
	}
	if st := status(t, pid); st.ExitStatus() != 7 {
		t.Errorf("status %#x, want exit 7", st)
	}
	runtime.KeepAlive(&s)
	if err := s.Err(); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(out); string(b) != "yes\n" {
		t.Errorf("program wrote %q", b)
	}
}

func TestFailures(t *testing.T) {
	word := new(uint64)
	*word = 1 << 40
	cases := []struct {
		name string
		add  func(*Sequence)
		want unix.Errno
	}{
		{"a call fails", func(s *Sequence) {
			s.Do("x", unix.SYS_OPENAT, unix.AT_FDCWD, String("/nonexistent"), 0, 0)
		}, unix.ENOENT},
		{"another errno than the forgiven one", func(s *Sequence) {
			s.Do("x", unix.SYS_MKDIRAT, unix.AT_FDCWD, String("/proc/x/y"), 0).Forgive(unix.EEXIST)
		}, unix.ENOENT},
		{"nothing to execute", func(s *Sequence) {
			s.Do("x", unix.SYS_EXECVE, String("/dev/null"), Strings(nil), Strings(nil))
		}, unix.EACCES},
		{"a word differs in its high half", func(s *Sequence) { s.Equal("x", word, 0, unix.ESTALE) }, unix.ESTALE},
		{"a word that does not", func(s *Sequence) {
			s.Equal("y", word, 1<<40, unix.ESTALE)
			s.Do("x", unix.SYS_CLOSE, 9999)
		}, unix.EBADF},
	}
	for _, c := range cases {
		var s Sequence
		c.add(&s)
		s.Do("not reached", unix.SYS_EXIT_GROUP, 0)
		pid, err := Start(fork, &s)
		if err != nil {
			t.Fatal(err)
		}
		if st := status(t, pid); st.ExitStatus() != ExitStatus {
			t.Errorf("%s: status %#x, want exit %d", c.name, st, ExitStatus)
		}
		runtime.KeepAlive(&s)
		if err := s.Err(); !errors.Is(err, c.want) || err.Error()[:2] != "x:" {
			t.Errorf("%s: %v, want x: %v", c.name, err, c.want)
		}
	}
}

func TestEndOfSequenceFails(t *testing.T) {
	var s Sequence
	s.Do("nothing", unix.SYS_GETPID)
	pid, err := Start(fork, &s)
	if err != nil {
		t.Fatal(err)
	}
	status(t, pid)
	if s.Err() == nil {
		t.Error("ran past the last step")
	}
}

// Two children at once in the parent's memory, while the parent's other
// threads allocate and collect.
func TestGrandchild(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	for range 50 {
		pid, own, collected := NewValue(), NewValue(), NewValue()
		var first, second Sequence
		second.Do("get pid", unix.SYS_GETPID).Into(own)
		second.Do("leave", unix.SYS_EXIT_GROUP, 3)
		first.Clone("fork", fork, &second, pid)
		first.Do("collect", unix.SYS_WAIT4, pid, nil, 0, nil).Into(collected)
		first.Do("leave", unix.SYS_EXIT_GROUP, 4)
		n, err := Start(fork, &first)
		if err != nil {
			t.Fatal(err)
		}
		if st := status(t, n); st.ExitStatus() != 4 {
			t.Fatalf("status %#x, %v, %v", st, first.Err(), second.Err())
		}
		runtime.KeepAlive(&first)
		runtime.KeepAlive(&second)
		if pid.Load() != own.Load() || pid.Load() != collected.Load() {
			t.Fatalf("pids %d %d %d", pid.Load(), own.Load(), collected.Load())
		}
	}
}

func TestSkip(t *testing.T) {
	for word, want := range map[uint32]int{0: 2, 4: 1, 0x80000000: 1, 0x7ffffffb: 2} {
		v := NewValue()
		*v.word = word
		var s Sequence
		s.SkipUnless(v, 0x80000004, 2)
		s.Do("nothing", unix.SYS_GETPID)
		s.Do("leave", unix.SYS_EXIT_GROUP, 1)
		s.Do("leave", unix.SYS_EXIT_GROUP, 2)
		pid, err := Start(fork, &s)
		if err != nil {
			t.Fatal(err)
		}
		if st := status(t, pid); st.ExitStatus() != want {
			t.Errorf("word %d: status %#x, want exit %d", word, st, want)
		}
		runtime.KeepAlive(&s)
	}
	// A decision can not lead past the end.
	var s Sequence
	s.SkipUnless(NewValue(), 1, 9)
	pid, err := Start(fork, &s)
	if err != nil {
		t.Fatal(err)
	}
	status(t, pid)
	runtime.KeepAlive(&s)
	if s.Err() == nil {
		t.Error("ran past the last step")
	}
}

// TestThen decides what comes next while the child is at work.
func TestThen(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	var first, second Sequence
	first.Do("wait", unix.SYS_READ, pipe[0], Struct(new(uint64)), 1)
	pid, err := Start(fork, &first)
	if err != nil {
		t.Fatal(err)
	}
	second.Do("x", unix.SYS_CLOSE, 9999)
	first.Then(&second)
	if _, err := unix.Write(pipe[1], []byte{1}); err != nil {
		t.Fatal(err)
	}
	if st := status(t, pid); st.ExitStatus() != ExitStatus {
		t.Errorf("status %#x, want exit %d", st, ExitStatus)
	}
	runtime.KeepAlive(&first)
	runtime.KeepAlive(&second)
	if err := second.Err(); !errors.Is(err, unix.EBADF) || first.Err() != nil {
		t.Errorf("%v, %v, want nothing and %v", first.Err(), err, unix.EBADF)
	}
}

func TestEach(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mask uint64
		want string
	}{
		{0, ""},
		{1, "\x01"},
		{1<<63 | 1<<6 | 1<<1, "\x02\x07\x40"},
		{0xf << 60, "\x3d\x3e\x3f\x40"},
	} {
		var s Sequence
		n := NewValue()
		s.Each("write", c.mask, n, unix.SYS_WRITE, pipe[1], n.Pointer(), 1)
		s.Do("end", unix.SYS_EXIT_GROUP, 7)
		pid, err := Start(fork, &s)
		if err != nil {
			t.Fatal(err)
		}
		if st := status(t, pid); st.ExitStatus() != 7 {
			t.Errorf("%#x: status %#x: %v", c.mask, st, s.Err())
		}
		runtime.KeepAlive(&s)
		got := make([]byte, 100)
		count, _ := unix.Read(pipe[0], got)
		if string(got[:max(count, 0)]) != c.want {
			t.Errorf("%#x: called for %x, want %x", c.mask, got[:max(count, 0)], c.want)
		}
	}
}

// TestEachEnds: a forgiven errno ends the set, another one the sequence.
func TestEachEnds(t *testing.T) {
	for _, forgive := range []unix.Errno{0, unix.EBADF} {
		var s Sequence
		n := NewValue()
		call := s.Each("close", 1<<40, n, unix.SYS_CLOSE, n)
		if forgive != 0 {
			call.Forgive(forgive)
		}
		s.Do("end", unix.SYS_EXIT_GROUP, 7)
		pid, err := Start(fork, &s)
		if err != nil {
			t.Fatal(err)
		}
		st := status(t, pid)
		runtime.KeepAlive(&s)
		if forgive == 0 && (st.ExitStatus() != ExitStatus || !errors.Is(s.Err(), unix.EBADF)) ||
			forgive != 0 && st.ExitStatus() != 7 {
			t.Errorf("forgiving %v: status %#x, %v", forgive, st, s.Err())
		}
	}
}

// TestHandlers: no handler of this process's is left in a child, and what is ignored is.
func TestHandlers(t *testing.T) {
	signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1)
	signal.Ignore(unix.SIGUSR2)
	defer signal.Reset(unix.SIGUSR1, unix.SIGUSR2)
	if !sys.HasClone3() {
		t.Fatal("no clone3")
	}
	for name, test := range map[string]struct {
		clone   func(s, child *Sequence, pid Value)
		restore func(*Sequence) error
	}{
		"Clone":      {func(s, child *Sequence, pid Value) { s.Clone("fork", fork, child, pid) }, (*Sequence).RestoreSignals},
		"CloneClear": {func(s, child *Sequence, pid Value) { s.CloneClear("fork", unix.CLONE_VM, unix.SIGCHLD, child, pid) }, (*Sequence).RestoreMask},
	} {
		var s, child Sequence
		var handled, ignored [4]uintptr
		handled[0], ignored[0] = 99, 99
		pid, mask := NewValue(), uint64(1)
		if err := test.restore(&child); err != nil {
			t.Fatal(err)
		}
		child.Do("look", unix.SYS_RT_SIGACTION, int(unix.SIGUSR1), nil, Struct(&handled), 8)
		child.Do("look", unix.SYS_RT_SIGACTION, int(unix.SIGUSR2), nil, Struct(&ignored), 8)
		child.Do("look", unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, nil, Struct(&mask), 8)
		child.Do("end", unix.SYS_EXIT_GROUP, 0)
		test.clone(&s, &child, pid)
		s.Do("wait", unix.SYS_WAIT4, pid, nil, 0, nil)
		s.Do("end", unix.SYS_EXIT_GROUP, 5)
		n, err := Start(fork, &s)
		if err != nil {
			t.Fatal(err)
		}
		if st := status(t, n); st.ExitStatus() != 5 || s.Err() != nil || child.Err() != nil {
			t.Errorf("%s: %#x, %v, %v", name, st, s.Err(), child.Err())
		}
		if handled[0] != 0 || ignored[0] != 1 || mask != 0 {
			t.Errorf("%s: handlers %d and %d, mask %#x, want 0, 1, 0", name, handled[0], ignored[0], mask)
		}
	}
}
