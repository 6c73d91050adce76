//go:build linux

package selfconfined

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// facts are what the kernel does that keeps some things from being as on FreeBSD.
// docs/rationale.md says which. Whoever finds one that is so no more can do better.
var facts = []attack{
	{name: "a filter is not taken back by another", do: notTakenBack},
	{name: "a second filter cannot ask", do: oneListener},
	{name: "a filter without a listener cannot ask", do: asksNobody},
	{name: "a new listener leaves relatives without answers", do: anotherListener},
	{name: "only an administrator sees what filters a process has", do: unseenFilters},
	{name: "a filter is not on who shares the table", do: sharerUnfiltered},
	{name: "a mapping can be given what its file is open for", do: mappedLater},
	{name: "Landlock binds one thread", do: ownLandlock},
	{name: "memory changes after a look", do: changedAfterLook},
	{name: "what has no access is not put into another process", do: accessOnly},
}

// TestFacts tries each in a process of its own.
func TestFacts(t *testing.T) {
	for _, fact := range facts {
		for who, cred := range users() {
			t.Run(fact.name+"/"+who, func(t *testing.T) {
				if got, out := fact.run(t, cred, false); got != succeeded {
					t.Errorf("it is not so: %d\n%s", got, out)
				}
			})
		}
	}
}

// What filters say.
const (
	allow  = 0x7fff0000 // SECCOMP_RET_ALLOW
	ask    = 0x7fc00000 // SECCOMP_RET_USER_NOTIF
	refuse = 0x00050000 // SECCOMP_RET_ERRNO
)

// stack stacks a filter that says something about getppid, and returns its listener if
// flags ask for one.
func stack(flags uintptr, says uint32) (int, error) { return stackOn(unix.SYS_GETPPID, flags, says) }

func stackOn(call uint32, flags uintptr, says uint32) (int, error) {
	runtime.LockOSThread()
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
		{Code: unix.BPF_RET | unix.BPF_K, K: says},
		{Code: unix.BPF_RET | unix.BPF_K, K: allow},
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	check(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	return int(fd), errnoOf(e)
}

func getppid() error {
	_, _, e := unix.Syscall(unix.SYS_GETPPID, 0, 0, 0)
	return errnoOf(e)
}

// want returns an error unless got is want.
func want(what string, got, want error) error {
	if got != want {
		return fmt.Errorf("%s: %v, not %v", what, got, want)
	}
	return nil
}

func notTakenBack(*attacker) error {
	_ = must(stack(0, refuse|uint32(unix.EDOM)))
	_ = must(stack(0, allow))
	return want("refused below, allowed above", getppid(), unix.EDOM)
}

func oneListener(*attacker) error {
	_ = must(stack(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, ask))
	_, err := stack(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, ask)
	return want("a second listener", err, unix.EBUSY)
}

func asksNobody(*attacker) error {
	listener := must(stack(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, allow))
	_ = must(stack(0, ask))
	err := getppid() // which would wait for ever if somebody were asked
	return errors.Join(want("asked above a filter with a listener", err, unix.ENOSYS), unix.Close(listener))
}

// accessOnly asks for a descriptor with access, which comes, and for one without.
func accessOnly(*attacker) error {
	listener := must(stack(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, ask))
	for flags, wants := range map[int]error{unix.O_RDONLY: nil, unix.O_PATH: unix.EBADF} {
		given := make(chan error)
		go func() { // on a thread that has no filter
			var n sys.SeccompNotif
			check(sys.NotifRecv(listener, &n))
			fd := must(unix.Open("/", flags, 0))
			_, err := sys.NotifAddFD(listener, &sys.SeccompNotifAddFD{ID: n.ID, SrcFD: uint32(fd)})
			check(sys.NotifSend(listener, &sys.SeccompNotifResp{ID: n.ID}))
			given <- err
		}()
		check(getppid())
		if err := <-given; err != wants {
			return fmt.Errorf("flags %#x: %v", flags, err)
		}
	}
	return nil
}

// anotherListener closes the first, which makes room for a second: for the process
// itself, and not for a child that has the first filter.
func anotherListener(*attacker) error {
	first := must(stack(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, ask))
	var cue [2]int
	check(unix.Pipe(cue[:]))
	var steps script.Sequence
	steps.Do("wait", unix.SYS_READ, cue[0], script.Struct(new([8]byte)), 1)
	steps.Do("ask", unix.SYS_GETPPID)
	pid := must(script.Start(unix.CLONE_VM|unix.CLONE_FILES|uintptr(unix.SIGCHLD), &steps)) // no copy of the listener
	check(unix.Close(first))
	_, err := stack(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, ask)
	if err != nil {
		return err
	}
	_ = must(unix.Write(cue[1], []byte("x")))
	var st unix.WaitStatus
	_ = must(unix.Wait4(pid, &st, 0, nil))
	var failed *script.StepError
	if !errors.As(steps.Err(), &failed) {
		return errors.New("the child is answered")
	}
	return want(failed.What, failed.Errno, unix.ENOSYS)
}

func unseenFilters(*attacker) error {
	if os.Geteuid() == 0 {
		return nil
	}
	_ = must(stack(0, allow))
	runtime.LockOSThread()
	child := exec.Command("/bin/true")
	child.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	check(child.Start())
	var st unix.WaitStatus
	_ = must(unix.Wait4(child.Process.Pid, &st, 0, nil))
	const getFilter = 0x420c // PTRACE_SECCOMP_GET_FILTER
	_, _, e := unix.Syscall6(unix.SYS_PTRACE, getFilter, uintptr(child.Process.Pid), 0, 0, 0, 0)
	check(child.Process.Kill())
	return want("look at a filter", errnoOf(e), unix.EACCES)
}

// sharerUnfiltered stacks a filter on all threads after another process came to share
// the table.
func sharerUnfiltered(*attacker) error {
	var cue [2]int
	check(unix.Pipe(cue[:]))
	var steps script.Sequence
	steps.Do("wait", unix.SYS_READ, cue[0], script.Struct(new([8]byte)), 1)
	steps.Do("call", unix.SYS_GETPPID)
	steps.Do("end", unix.SYS_EXIT_GROUP, 0)
	pid := must(script.Start(unix.CLONE_VM|unix.CLONE_FILES|uintptr(unix.SIGCHLD), &steps))
	_ = must(stack(unix.SECCOMP_FILTER_FLAG_TSYNC, refuse|uint32(unix.EDOM)))
	check(want("in the process itself", getppid(), unix.EDOM))
	_ = must(unix.Write(cue[1], []byte("x")))
	return errors.Join(ended(pid), steps.Err())
}

// mappedLater writes to a file through what was mapped for nothing.
func mappedLater(a *attacker) error {
	fd := a.file("it", "public")
	mem := must(unix.Mmap(fd, 0, 6, unix.PROT_NONE, unix.MAP_SHARED))
	if err := unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	copy(mem, "secret")
	return readSecret(fd)
}

// ownLandlock forbids one thread to read any file, and reads one with another.
func ownLandlock(a *attacker) error {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_READ_FILE}
	rules, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), 8, 0)
	check(errnoOf(e))
	cue, bound := make(chan bool), make(chan error)
	go func() {
		runtime.LockOSThread()
		<-cue
		_, err := os.ReadFile("/etc/passwd")
		bound <- err
	}()
	time.Sleep(50 * time.Millisecond)
	runtime.LockOSThread()
	check(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	_, _, e = unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules, 0, 0)
	check(errnoOf(e))
	_, err := unix.Open("/etc/passwd", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	check(want("the thread itself", err, unix.EACCES))
	cue <- true
	return <-bound
}

// changedAfterLook asks about a name, and changes it before the call goes on.
func changedAfterLook(a *attacker) error {
	name := []byte(filepath.Join(a.dir, "looked at") + "\x00")
	listener := must(stackOn(unix.SYS_MKDIRAT, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, ask))
	answered := make(chan error)
	go func() {
		answered <- letOne(listener, func() { copy(name[len(a.dir):], "/changed\x00") })
	}()
	_, _, e := unix.Syscall(unix.SYS_MKDIRAT, 0, uintptr(unsafe.Pointer(&name[0])), 0o700)
	_, err := os.Stat(filepath.Join(a.dir, "changed"))
	return errors.Join(errnoOf(e), err, <-answered)
}
