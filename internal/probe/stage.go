package probe

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// stageName is the name under which a probe's child is started. Somebody who
// uses it by hand gets a process that looks at itself and ends.
const stageName = "capsicum: probe"

// stages maps a child's task to what it does. Each reports by say.
var stages = []struct {
	task string
	try  func()
}{
	{"namespaces", tryNamespaces},
	{"landlock", tryLandlock},
	{"filter", tryFilter},
	{"notify", tryNotify},
	{"target", tellTarget},
}

// Stage becomes a probe's child and ends, if this process was started as one;
// else it returns. Call it first in main.
func Stage() {
	if len(os.Args) != 2 || os.Args[0] != stageName {
		return
	}
	var run func()
	for _, s := range stages {
		if s.task == os.Args[1] {
			run = s.try
		}
	}
	if run == nil {
		os.Exit(1)
	}
	// What is tried here belongs to a thread; and a program that capsicum
	// starts has no_new_privs, which changes who may read it.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		os.Exit(1)
	}
	run()
	os.Exit(0)
}

func say(name string, err error, detail string) bool {
	json.NewEncoder(os.Stdout).Encode(found(name, err, detail))
	return err == nil
}

// tryNamespaces runs as the first process of the new namespaces: that it runs
// is the first finding.
func tryNamespaces() {
	say(Userns, nil, "")
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = mountProc()
		say(MountProc, err, "")
		err = unix.Mount("capsicum", "/proc", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755")
	}
	if !say(PrivateMount, err, "") {
		return
	}
	say(MountAPI, cloneReadOnly("/proc/clone"), "")
}

func mountProc() error {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	self, err := os.Readlink("/proc/self")
	if err == nil && self != "1" {
		return fmt.Errorf("/proc/self is %s in a new pid namespace", self)
	}
	return err
}

// cloneReadOnly mounts a read-only clone of the root and looks whether a
// write is refused for that reason.
func cloneReadOnly(at string) error {
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	// Setting times asks the mount before it asks who we are.
	if err := unix.Utimes(at, nil); err != unix.EROFS {
		return fmt.Errorf("write to a read-only clone: %w", orMissing(err))
	}
	return nil
}

// orMissing turns "no error where one was due" into an error.
func orMissing(err error) error {
	if err == nil {
		return unix.ENOTRECOVERABLE
	}
	return err
}

// tryLandlock enters a domain that allows nothing and looks whether it bites.
func tryLandlock() {
	abi, err := LandlockABI()
	if err != nil {
		say(Landlock, err, "")
		return
	}
	detail := fmt.Sprintf("ABI %d", abi)
	const look = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err := unix.Open("/", look, 0)
	if err != nil {
		say(Landlock, err, detail+"; / can not be read to begin with")
		return
	}
	unix.Close(fd)
	if err := allowNothing(); err != nil {
		say(Landlock, err, detail)
		return
	}
	if _, err = unix.Open("/", look, 0); err != unix.EACCES {
		say(Landlock, orMissing(err), detail+", but a rule does not bite")
		return
	}
	say(Landlock, nil, detail)
}

func allowNothing() error {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_READ_DIR}
	// Only the first field of the structure: that size suits every ABI.
	ruleset, err := sys.LandlockCreate(&attr, unsafe.Sizeof(attr.Handled_access_fs))
	if err != nil {
		return err
	}
	defer unix.Close(ruleset)
	return sys.LandlockRestrict(ruleset)
}

// probedCall is the call that filters here act on: it exists everywhere, takes
// no argument, and the Go runtime never makes it.
const probedCall = unix.SYS_GETPPID

func program(action uint32) ([]unix.SockFilter, error) {
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: probedCall, SkipFalse: 1},
		bpf.RetConstant{Val: action},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return nil, err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return filter, nil
}

func tryFilter() {
	prog, err := program(unix.SECCOMP_RET_ERRNO | uint32(unix.EOWNERDEAD))
	if err == nil {
		_, err = sys.InstallFilter(prog, false)
	}
	if err != nil {
		say(Filter, err, "")
		return
	}
	if _, err := sys.ProbeCall(probedCall); err != unix.EOWNERDEAD {
		say(Filter, orMissing(err), "a rule does not bite")
		return
	}
	say(Filter, nil, "")
}

// tryNotify supervises a thread of its own: a second one asks, this one
// answers.
func tryNotify() {
	// The runtime's own signal can interrupt an injection that took effect.
	if _, err := sys.AllSignals(); err != nil {
		say(Listener, err, "")
		return
	}
	installed := make(chan sys.Installed)
	answers := make(chan uintptr)
	go ask(installed, answers)
	in := <-installed
	if !in.Listener.Valid() {
		return
	}
	var killable error
	if !in.WaitKillable {
		killable = unix.EINVAL
	}
	say(WaitKillable, killable, "")
	fd := in.Listener.Int()
	say(SyncWakeUp, sys.NotifSyncWakeUp(fd), "")
	for _, t := range []struct {
		name   string
		answer func(fd int, id uint64) (uintptr, error)
	}{
		{Listener, answerValue},
		{AddFD, answerInjected},
		{AddFDSend, answerSend},
	} {
		want, err := receive(fd, t.answer)
		if err != nil {
			say(t.name, err, "")
			return // the asker may wait for ever; the end of this process ends it
		}
		if got := <-answers; got != want {
			err = fmt.Errorf("the caller got %d instead of %d", got, want)
		}
		say(t.name, err, "")
	}
}

// ask installs a filter with a listener on this thread alone, then makes the
// call once for each answer.
func ask(installed chan<- sys.Installed, answers chan<- uintptr) {
	runtime.LockOSThread()
	var in sys.Installed
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		var prog []unix.SockFilter
		if prog, err = program(unix.SECCOMP_RET_USER_NOTIF); err == nil {
			in, err = sys.InstallFilter(prog, true)
		}
	}
	if err != nil {
		for _, name := range []string{Listener, AddFD, AddFDSend, WaitKillable, SyncWakeUp} {
			say(name, err, "")
		}
		installed <- sys.Installed{}
		return
	}
	installed <- in
	for range 3 {
		r, err := sys.ProbeCall(probedCall)
		if err != nil {
			r = 0
		}
		answers <- r
	}
	select {} // a thread with a filter must not be used again
}

func receive(fd int, answer func(int, uint64) (uintptr, error)) (uintptr, error) {
	var n sys.SeccompNotif
	if err := sys.Retry(func() error { return sys.NotifRecv(fd, &n) }); err != nil {
		return 0, err
	}
	return answer(fd, n.ID)
}

func answerValue(fd int, id uint64) (uintptr, error) {
	const value = 4242
	return value, sys.NotifSend(fd, &sys.SeccompNotifResp{ID: id, Val: value})
}

func answerInjected(fd int, id uint64) (uintptr, error) {
	n, err := sys.NotifAddFD(fd, &sys.SeccompNotifAddFD{ID: id, NewFDFlags: unix.O_CLOEXEC})
	if err != nil {
		return 0, err
	}
	return uintptr(n), sys.NotifSend(fd, &sys.SeccompNotifResp{ID: id, Val: int64(n)})
}

func answerSend(fd int, id uint64) (uintptr, error) {
	n, err := sys.NotifAddFD(fd, &sys.SeccompNotifAddFD{ID: id, Flags: unix.SECCOMP_ADDFD_FLAG_SEND, NewFDFlags: unix.O_CLOEXEC})
	return uintptr(n), err
}
