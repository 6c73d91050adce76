package attach

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// A supervisor is for good, so each case runs in a process of its own.
const caseEnv = "ATTACH_CASE"

func TestMain(m *testing.M) {
	if name := os.Getenv(caseEnv); name != "" {
		if err := cases[name](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var cases = map[string]func() error{
	"limits and copies":   limitsAndCopies,
	"invisible":           invisible,
	"every thread":        everyThread,
	"no descriptor left":  noDescriptorLeft,
	"a second start":      secondStart,
	"a dead supervisor":   deadSupervisor,
	"dead in the mode":    deadInMode,
	"dead at the handing": deadAtHanding,
	"many requests":       manyRequests,
	"executed programs":   executedPrograms,
	"closed standard fds": closedStandard,
	"another user":        anotherUser,
	"not dumpable":        notDumpable,
	"child subreaper":     childSubreaper,
	"told of":             toldOf,
	"tried form":          triedForm,
}

// TestCases runs every case as whoever runs the test, and as an ordinary user.
func TestCases(t *testing.T) {
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() == 0 {
		users["user"] = &syscall.Credential{Uid: 1500, Gid: 1500}
	}
	for who, cred := range users {
		for name := range cases {
			t.Run(who+"/"+name, func(t *testing.T) { runCase(t, name, cred) })
		}
	}
}

func runCase(t *testing.T, name string, cred *syscall.Credential) {
	// What a case makes it may be unable to remove in the end.
	dir, err := os.MkdirTemp("", "attach")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), caseEnv+"="+name, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Setpgid: true}
	timer := time.AfterFunc(3*time.Minute, func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The supervisor ends with what it serves.
	for range 6000 {
		if len(supervisorsOf(cmd.Process.Pid)) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("its supervisor lives on")
}

// supervisorsOf lists the supervisors of a process.
func supervisorsOf(pid int) []int {
	var out []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if string(line) == stageName+"\x00"+strconv.Itoa(pid)+"\x00" {
			out = append(out, n)
		}
	}
	return out
}

// want is nil when err is one of errnos.
func want(what string, err error, errno unix.Errno) error {
	if !errors.Is(err, errno) || errno == 0 && err != nil {
		return fmt.Errorf("%s: %v, want %v", what, err, errno)
	}
	return nil
}

func zero() int {
	fd, err := unix.Open("/dev/zero", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	return fd
}

func limitsAndCopies() error {
	fd, one := zero(), make([]byte, 1)
	if _, err := unix.Write(fd, one); err != nil {
		return fmt.Errorf("before: %w", err)
	}
	if err := errors.Join(Start(), LimitRights(fd, rights.Of(rights.Read))); err != nil {
		return err
	}
	_, readErr := unix.Read(fd, one)
	_, writeErr := unix.Write(fd, one)
	n, dupErr := unix.Dup(fd)
	_, readCopy := unix.Read(n, one)
	_, writeCopy := unix.Write(n, one)
	err := errors.Join(readErr, dupErr, readCopy, want("write", writeErr, filecaps.ENOTCAPABLE),
		want("write to the copy", writeCopy, filecaps.ENOTCAPABLE))
	if err != nil {
		return err
	}
	if err := Enter(); err != nil {
		return err
	}
	_, err = os.Open("/")
	return want("open", err, filecaps.ECAPMODE)
}

// invisible: nothing that a program can ask of the kernel about itself tells of its
// supervisor.
func invisible() error {
	sigs := make(chan os.Signal, 16)
	signal.Notify(sigs, unix.SIGCHLD)
	look := func() string {
		sid, _ := unix.Getsid(0)
		return fmt.Sprint(os.Getpid(), os.Getppid(), unix.Getpgrp(), sid)
	}
	before := look()
	if err := errors.Join(Start(), LimitRights(zero(), rights.Of(rights.Read))); err != nil {
		return err
	}
	if now := look(); now != before {
		return fmt.Errorf("ids were %s and are %s", before, now)
	}
	for _, options := range []int{unix.WNOHANG, unix.WNOHANG | unix.WALL, unix.WNOHANG | unix.WCLONE} {
		if pid, err := unix.Wait4(-1, nil, options, nil); err != unix.ECHILD {
			return fmt.Errorf("wait returns %d, %v", pid, err)
		}
	}
	select {
	case s := <-sigs:
		return fmt.Errorf("signal %v", s)
	case <-time.After(50 * time.Millisecond):
	}
	children, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(os.Getpid()) + "/children")
	if err == nil && len(children) > 0 {
		return fmt.Errorf("children: %s", children)
	}
	return nil
}

func everyThread() error {
	const threads = 8
	fd, start, errs := zero(), make(chan struct{}), make(chan error)
	for range threads {
		go func() {
			runtime.LockOSThread()
			<-start
			_, err := unix.Write(fd, make([]byte, 1))
			errs <- want("write on another thread", err, filecaps.ENOTCAPABLE)
		}()
	}
	time.Sleep(10 * time.Millisecond)
	if err := errors.Join(Start(), LimitRights(fd, rights.Of(rights.Read))); err != nil {
		return err
	}
	close(start)
	var all error
	for range threads {
		all = errors.Join(all, <-errs)
	}
	return all
}

func open() string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var out []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		// The runtime opens these two when it first waits for something.
		if err == nil && target != "anon_inode:[eventpoll]" && target != "anon_inode:[eventfd]" {
			out = append(out, e.Name()+" "+target)
		}
	}
	return strings.Join(out, "\n")
}

func noDescriptorLeft() error {
	before := open()
	if err := Start(); err != nil {
		return err
	}
	if now := open(); now != before {
		return fmt.Errorf("open before:\n%s\nnow:\n%s", before, now)
	}
	return nil
}

func secondStart() error {
	if err := Start(); err != nil {
		return err
	}
	if !Supervised() {
		return errors.New("not supervised")
	}
	if err := Start(); err == nil {
		return errors.New("a second supervisor")
	}
	return LimitRights(zero(), rights.Of(rights.Read))
}

// unsupervised waits until this process's supervisor, who was killed, answers nobody.
func unsupervised() {
	for n := 0; len(supervisorsOf(os.Getpid())) > 0 && n < 6000; n++ {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // its memory is gone before its descriptors
}

// deadSupervisor: what would ask is refused, nothing passes.
func deadSupervisor() error {
	fd := zero()
	if err := errors.Join(Start(), LimitRights(fd, rights.Of(rights.Read))); err != nil {
		return err
	}
	for _, pid := range supervisorsOf(os.Getpid()) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			return err
		}
	}
	unsupervised()
	_, err := unix.Dup(fd)
	_, writeErr := unix.Write(fd, make([]byte, 1))
	return errors.Join(want("dup", err, unix.ENOSYS), want("write", writeErr, filecaps.ENOTCAPABLE))
}

// deadInMode: the mode outlives the supervisor, and can be told.
func deadInMode() error {
	pid := os.Getpid()
	killer := exec.Command("/bin/sh", "-c", "read line; kill -9 $line; echo")
	in, inErr := killer.StdinPipe()
	out, outErr := killer.StdoutPipe()
	err := errors.Join(inErr, outErr, killer.Start(), Start())
	supervisors := supervisorsOf(pid)
	if err = errors.Join(err, Enter()); err != nil || len(supervisors) != 1 {
		return fmt.Errorf("%d supervisors, %w", len(supervisors), err)
	}
	_, err = fmt.Fprintln(in, supervisors[0])
	if _, rerr := out.Read(make([]byte, 1)); err != nil || rerr != nil {
		return errors.Join(err, rerr)
	}
	for n := 0; Supervised() && n < 6000; n++ {
		time.Sleep(10 * time.Millisecond)
	}
	if Supervised() {
		return errors.New("the supervisor lives")
	}
	if in, err := Mode(); !in || err != nil {
		return fmt.Errorf("in the mode: %v, %w", in, err)
	}
	return nil
}

// deadAtHanding: a supervisor that ends before it has the listener leaves nobody
// waiting.
func deadAtHanding() error {
	p, fd, err := newPage()
	if err != nil {
		return err
	}
	pid, err := spawn(fd.Int())
	if err != nil {
		return err
	}
	alive := func() bool { return sys.Lives(pid) }
	if err := introduce(p, pid); err != nil {
		return err
	}
	if err := p.await(stateReady, alive); err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return err
	}
	if err := want("install", install(p, alive), unix.ESRCH); err != nil {
		return err
	}
	_, err = unix.Dup(0)
	return want("dup", err, unix.ENOSYS)
}

// manyRequests makes requests on many threads at once, which stack filters.
func manyRequests() error {
	if err := Start(); err != nil {
		return err
	}
	const n = 32
	errs := make(chan error)
	for range n {
		go func() {
			fd := zero()
			err := LimitRights(fd, rights.Of(rights.Read, rights.Fstat))
			_, writeErr := unix.Write(fd, make([]byte, 1))
			set, rightsErr := Rights(fd)
			if set != rights.Of(rights.Read, rights.Fstat) {
				rightsErr = errors.Join(rightsErr, fmt.Errorf("rights %v", set))
			}
			errs <- errors.Join(err, rightsErr, want("write", writeErr, filecaps.ENOTCAPABLE))
		}()
	}
	var all error
	for range n {
		all = errors.Join(all, <-errs)
	}
	return all
}

func executedPrograms() error {
	if err := errors.Join(Start(), LimitRights(zero(), rights.Of(rights.Read))); err != nil {
		return err
	}
	// One child at a time: dash is told of the end of another by a handler that does not
	// restart calls, and then fails to fork.
	out, err := exec.Command("/bin/sh", "-c", "/bin/echo a; (sleep 0.01; echo b) & wait; ls / >/dev/null && echo c").CombinedOutput()
	if err != nil || string(out) != "a\nb\nc\n" {
		return fmt.Errorf("%q, %v", out, err)
	}
	return nil
}

func closedStandard() error {
	for fd := range 3 {
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	return errors.Join(Start(), LimitRights(zero(), rights.Of(rights.Read)))
}

// anotherUser: a program that drops to a user after it attached is lent nothing of
// its supervisor's.
func anotherUser() error {
	if os.Geteuid() != 0 {
		return nil // nobody else can
	}
	dir, err := os.MkdirTemp("", "case")
	if err != nil {
		return err
	}
	for name, mode := range map[string]os.FileMode{"secret": 0o600, "public": 0o644} {
		if err := os.WriteFile(dir+"/"+name, nil, mode); err != nil {
			return err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = errors.Join(Start(), LimitRights(fd, rights.Of(rights.Read, rights.Seek, rights.Lookup, rights.Fstat)))
	if err != nil {
		return err
	}
	if n, err := unix.Openat(fd, "secret", unix.O_RDONLY, 0); err != nil {
		return fmt.Errorf("as root: %w", err)
	} else if err := unix.Close(n); err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(1500, 1500, 1500), syscall.Setresuid(1500, 1500, 1500)); err != nil {
		return err
	}
	if uid, err := signedBy(); err != nil || uid != 1500 {
		return fmt.Errorf("a message of user 1500 is signed by %d, %w", uid, err)
	}
	_, secret := unix.Openat(fd, "secret", unix.O_RDONLY, 0)
	_, public := unix.Openat(fd, "public", unix.O_RDONLY, 0)
	_, above := unix.Openat(fd, "..", unix.O_RDONLY, 0)
	err = errors.Join(public, want("a file of root's", secret, unix.EACCES), want("above", above, filecaps.ENOTCAPABLE))
	return errors.Join(err, Enter())
}

// signedBy sends a message to itself and returns the user that the kernel says it is
// from.
func signedBy() (uint32, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.SetsockoptInt(pair[1], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return 0, err
	}
	if err := unix.Sendmsg(pair[0], []byte("x"), nil, nil, 0); err != nil {
		return 0, err
	}
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 1), oob, 0)
	if err != nil {
		return 0, err
	}
	list, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(list) != 1 {
		return 0, fmt.Errorf("%d control messages, %w", len(list), err)
	}
	cred, err := unix.ParseUnixCredentials(&list[0])
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// notDumpable: a supervisor of the same user can't look into such a process, and
// refuses it everything that it would have to look at.
func notDumpable() error {
	// A program that comes to have another file under the number may be refused it.
	const beyond = 100
	fd, err := unix.FcntlInt(uintptr(zero()), unix.F_DUPFD_CLOEXEC, beyond)
	err = errors.Join(err, Start(), LimitRights(fd, rights.Of(rights.Read)), unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, make([]byte, 1))
	err = want("write", err, filecaps.ENOTCAPABLE)
	if _, dup := unix.Dup(fd); os.Geteuid() != 0 && dup == nil {
		err = errors.Join(err, errors.New("dup of what nobody could look at"))
	}
	// What concerns no limited descriptor needs no look.
	if scope, scopeErr := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); scopeErr == nil && string(scope) != "0\n" {
		return err
	}
	out, runErr := exec.Command("/bin/sh", "-c", "echo a | cat").Output()
	if runErr != nil || string(out) != "a\n" {
		err = errors.Join(err, fmt.Errorf("a program: %q, %w", out, runErr))
	}
	return err
}

// childSubreaper: a process that adopts orphans does not adopt its supervisor, whose
// end it would wait for, and goes on adopting others.
func childSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := Start(); err != nil {
		return err
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WALL, nil); err != unix.ECHILD {
		return fmt.Errorf("wait for any child: %v, want %v", err, unix.ECHILD)
	}
	cmd := exec.Command("/bin/sh", "-c", "sleep 0.1 & exit 0")
	if err := cmd.Run(); err != nil {
		return err
	}
	if _, err := unix.Wait4(-1, nil, unix.WALL, nil); err != nil {
		return fmt.Errorf("wait for an orphan: %w", err)
	}
	return nil
}
