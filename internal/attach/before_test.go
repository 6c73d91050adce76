package attach

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

func init() {
	cases["a thread with descriptors of its own"] = ownDescriptors
	cases["descriptors that are not compared"] = notCompared
	cases["an io_uring that the kernel polls"] = polledRing
	cases["a word with another's part"] = othersWord
	cases["a user namespace made afterwards"] = laterNamespace
	cases["a shared table during a limit"] = sharedMeanwhile
	cases["a set-user-ID program"] = setUserID
	cases[dropped] = dropAndStart
}

// ownDescriptors: what such a thread has under a number says nothing about the others'.
func ownDescriptors() error {
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		ready <- unix.Unshare(unix.CLONE_FILES)
		select {}
	}()
	if err := <-ready; err != nil {
		return err
	}
	err := want("start", Start(), unix.EBUSY)
	if Supervised() {
		err = errors.Join(err, errors.New("supervised all the same"))
	}
	return err
}

// notCompared: the kernel does not tell whether threads share their descriptors.
func notCompared() error {
	err := sys.InstallAll([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_KCMP},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return err
	}
	return want("start", Start(), unix.EBUSY)
}

// polledRing: what a program writes into the memory of such a ring is done by the kernel
// without a call.
func polledRing() error {
	const sqPoll = 2 // IORING_SETUP_SQPOLL
	params := [30]uint32{2: sqPoll}
	_, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if e == unix.ENOSYS || e == unix.EPERM {
		return nil // there are none here
	}
	if e != 0 {
		return fmt.Errorf("set up a ring: %w", e)
	}
	return want("start", Start(), unix.EBUSY)
}

// othersWord: where labels of forks are kept, something else may be kept above them.
func othersWord() error {
	const others = 1 << 40
	word := func() (uint64, error) {
		var l unix.Rlimit
		err := unix.Prlimit(0, unix.RLIMIT_LOCKS, nil, &l)
		return l.Cur, err
	}
	err := unix.Setrlimit(unix.RLIMIT_LOCKS, &unix.Rlimit{Cur: others, Max: unix.RLIM_INFINITY})
	fd := zero()
	if err := errors.Join(err, Start(), LimitRights(fd, rights.Of(rights.Read))); err != nil {
		return err
	}
	for range 2 {
		child := new(script.Sequence)
		child.Do("copy", unix.SYS_DUP, fd)
		child.Do("end", unix.SYS_EXIT_GROUP, 0)
		pid, err := script.Start(unix.CLONE_VM|uintptr(unix.SIGCHLD), child)
		if err != nil {
			return err
		}
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
			return err
		}
		if err := child.Err(); err != nil {
			return err
		}
		if now, err := word(); err != nil || now <= others || now&others == 0 {
			return fmt.Errorf("the word is %#x, %v", now, err)
		}
	}
	return nil
}

// laterNamespace: whoever makes a user namespace has every capability, but only there.
func laterNamespace() error {
	if os.Geteuid() != 0 {
		return nil // whose supervisor has none to lend
	}
	dir, err := os.MkdirTemp("", "case")
	if err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(dir+"/secret", nil, 0o600), os.Chmod(dir, 0o755)); err != nil {
		return err
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = errors.Join(Start(), LimitRights(fd, rights.Of(rights.Read, rights.Lookup)))
	err = errors.Join(err, syscall.Setgroups(nil), syscall.Setresgid(1500, 1500, 1500), syscall.Setresuid(1500, 1500, 1500))
	if err != nil {
		return err
	}
	var child script.Sequence
	child.Do("open", unix.SYS_OPENAT, fd, script.String("secret"), unix.O_RDONLY, 0)
	child.Do("end", unix.SYS_EXIT_GROUP, 0)
	pid, err := script.Start(unix.CLONE_VM|unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), &child)
	if err == nil {
		_, err = unix.Wait4(pid, nil, unix.WALL, nil)
	}
	return errors.Join(err, want("a file of root's", child.Err(), unix.EACCES))
}

// sharedMeanwhile: a process that comes to share the table after a limit's filter was
// given out and before it is stacked would never have it.
func sharedMeanwhile() error {
	fd := zero()
	if err := Start(); err != nil {
		return err
	}
	none := rights.Set{}.Words()
	n, err := ask(request.LimitRights, uintptr(fd), uintptr(none[0]), uintptr(none[1]), room())
	if err != nil || n == 0 {
		return fmt.Errorf("a filter of %d instructions, %w", n, err)
	}
	share := func() error {
		var child script.Sequence
		child.Do("end", unix.SYS_EXIT_GROUP, 0)
		pid, err := script.Start(unix.CLONE_VM|unix.CLONE_FILES|uintptr(unix.SIGCHLD), &child)
		if err == nil {
			_, err = unix.Wait4(pid, nil, unix.WALL, nil)
		}
		return err
	}
	if err := want("clone meanwhile", share(), unix.EAGAIN); err != nil {
		return err
	}
	if err := stack(n); err != nil {
		return err
	}
	if _, err := ask(request.Stacked, uintptr(fd)); err != nil {
		return err
	}
	return share()
}

const dropped = "a set-user-ID program that is none any more"

// setUserID: the supervisor of a program that has dropped its set-user-ID does not get
// it back by executing that.
func setUserID() error {
	if os.Geteuid() != 0 {
		return nil // nobody else can make one
	}
	dir, err := os.MkdirTemp("", "case")
	if err != nil {
		return err
	}
	err = errors.Join(exetest.WriteSelf(dir+"/program", 0o755|os.ModeSetuid), os.Chmod(dir, 0o755))
	if err != nil {
		return err
	}
	cmd := exec.Command(dir + "/program")
	cmd.Env = append(os.Environ(), caseEnv+"="+dropped)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1500, Gid: 1500}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// dropAndStart may have a supervisor or not.
func dropAndStart() error {
	if err := syscall.Setresuid(1500, 1500, 1500); err != nil && os.Getuid() == 1500 {
		return err
	}
	_ = Start()
	for _, pid := range supervisorsOf(os.Getpid()) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err == nil && os.Getuid() == 1500 && !strings.Contains(string(status), "Uid:\t1500\t1500\t1500\t1500\n") {
			return fmt.Errorf("the supervisor is another user:\n%s", status)
		}
	}
	return nil
}
