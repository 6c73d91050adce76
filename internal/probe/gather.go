package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// childTime bounds a child that hangs in a kernel or under a filter that
// behaves as none was seen to.
const childTime = 5 * time.Second

// gather makes every try and returns the findings by name.
func gather(m machine) map[string]finding {
	all := map[string]finding{}
	add := func(fs ...finding) {
		for _, f := range fs {
			all[f.Name] = f
		}
	}
	add(inChild("namespaces", namespaceAttr(), Userns, PrivateMount, MountProc, MountAPI)...)
	add(inChild("landlock", nil, Landlock)...)
	add(inChild("filter", nil, Filter)...)
	add(inChild("notify", nil, Listener, AddFD, AddFDSend, WaitKillable, SyncWakeUp)...)
	add(onChild()...)
	add(tryOpenat2(), tryMountID(), tryClone3(), tryCgroup())
	add(facts(m)...)
	return all
}

// namespaceAttr asks for what the namespaces engine asks for.
func namespaceAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// inChild runs one stage and returns its findings. Names that the child did
// not speak of share the reason it ended for.
func inChild(stage string, attr *syscall.SysProcAttr, names ...string) []finding {
	cmd, out := child(stage, attr)
	if err := cmd.Start(); err != nil {
		list := complete(stage, nil, err, names)
		for i := range list {
			list[i].NoChild = true
		}
		return list
	}
	timer := time.AfterFunc(childTime, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	timer.Stop()
	return complete(stage, out.Bytes(), err, names)
}

func child(stage string, attr *syscall.SysProcAttr) (*exec.Cmd, *bytes.Buffer) {
	var out bytes.Buffer
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Pdeathsig = syscall.SIGKILL
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{stageName, stage},
		Env:         []string{},
		Stdout:      &out,
		SysProcAttr: attr,
	}
	return cmd, &out
}

func complete(stage string, out []byte, err error, names []string) []finding {
	said := map[string]finding{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var f finding
		if dec.Decode(&f) != nil {
			break
		}
		said[f.Name] = f
	}
	if err == nil {
		err = fmt.Errorf("%s probe: no answer", stage)
	}
	var list []finding
	for _, name := range names {
		f, ok := said[name]
		if !ok {
			f = found(name, err, "")
		}
		list = append(list, f)
	}
	return list
}

// onChild does to a child what the supervisor does to a program.
func onChild() []finding {
	names := []string{ReadMemory, ChildFD, PidfdOpen, PidfdGetfd}
	cmd, _ := child("target", nil)
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		return complete("target", nil, err, names)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return complete("target", nil, err, names)
	}
	if err := cmd.Start(); err != nil {
		return complete("target", nil, err, names)
	}
	timer := time.AfterFunc(childTime, func() { cmd.Process.Kill() })
	defer func() {
		in.Close() // the child ends at end of file
		cmd.Wait()
		timer.Stop()
	}()
	var t target
	if err := json.NewDecoder(out).Decode(&t); err != nil {
		return complete("target", nil, err, names)
	}
	list := []finding{tryReadMemory(cmd.Process.Pid, t), tryChildFD(cmd.Process.Pid)}
	return append(list, tryPidfd(cmd.Process.Pid)...)
}

func tryReadMemory(pid int, t target) finding {
	buf := make([]byte, len(t.Nonce))
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(t.Address), Len: len(buf)}}, 0)
	if err == nil && string(buf[:n]) != t.Nonce {
		err = errors.New("process_vm_readv returned other bytes than are there")
	}
	return found(ReadMemory, err, "")
}

func tryChildFD(pid int) finding {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/fd/0", pid), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return found(ChildFD, err, "")
}

func tryPidfd(pid int) []finding {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return []finding{found(PidfdOpen, err, ""), found(PidfdGetfd, err, "")}
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, 0, 0)
	if err == nil {
		unix.Close(fd)
	}
	return []finding{found(PidfdOpen, nil, ""), found(PidfdGetfd, err, "")}
}

// tryOpenat2 looks whether a name that leaves the directory is refused.
func tryOpenat2() finding {
	dir, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return found(Openat2, err, "")
	}
	defer unix.Close(dir)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH}
	fd, err := unix.Openat2(dir, "..", &how)
	switch err {
	case nil:
		unix.Close(fd)
		return found(Openat2, unix.EINVAL, "RESOLVE_BENEATH let .. through")
	case unix.EXDEV:
		return found(Openat2, nil, "")
	}
	return found(Openat2, err, "")
}

func tryMountID() finding {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, "/", 0, unix.STATX_MNT_ID, &st)
	if err == nil && st.Mask&unix.STATX_MNT_ID == 0 {
		err = unix.ENOSYS
	}
	return found(MountID, err, "")
}

// tryClone3 passes arguments that no kernel accepts: EINVAL is the answer of
// one that looked at them.
func tryClone3() finding {
	_, err := sys.ProbeCall(unix.SYS_CLONE3)
	if err == unix.EINVAL {
		err = nil
	}
	return found(Clone3, err, "")
}

// tryCgroup makes a group beneath our own and removes it.
func tryCgroup() finding {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return found(Cgroup, err, "")
	}
	mount := "/sys/fs/cgroup"
	if _, err := os.Stat(mount + "/cgroup.controllers"); err != nil {
		return found(Cgroup, err, "no cgroup v2 hierarchy at "+mount)
	}
	for line := range strings.Lines(string(own)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		dir := path.Join(mount, name, fmt.Sprintf("capsicum-probe-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return found(Cgroup, err, "")
		}
		return found(Cgroup, os.Remove(dir), "")
	}
	return found(Cgroup, unix.ENOENT, "this process is in no cgroup v2 group")
}

func facts(m machine) []finding {
	yama, ok := m.sysctl["kernel/yama/ptrace_scope"]
	var list []finding
	switch {
	case !ok:
		list = append(list, found(Yama, nil, "not present"))
	case yama == "0" || yama == "1":
		list = append(list, found(Yama, nil, "scope "+yama))
	default:
		list = append(list, found(Yama, unix.EPERM, "scope "+yama))
	}
	rule, ok := m.sysctl["kernel/apparmor_restrict_unprivileged_userns"]
	switch {
	case !ok:
		list = append(list, found(AppArmor, nil, "not present"))
	case rule == "0" || m.root:
		list = append(list, found(AppArmor, nil, "value "+rule+", does not bite here"))
	default:
		list = append(list, found(AppArmor, unix.EACCES, "in force"))
	}
	if m.seccomp {
		return append(list, found(OuterFilter, unix.EPERM, "in force"))
	}
	return append(list, found(OuterFilter, nil, "none"))
}

// target is what a child tells about itself.
type target struct {
	Nonce   string
	Address uint64
}

func tellTarget() {
	nonce := []byte(fmt.Sprintf("capsicum %d %d", os.Getpid(), time.Now().UnixNano()))
	t := target{Nonce: string(nonce), Address: uint64(uintptr(unsafe.Pointer(&nonce[0])))}
	json.NewEncoder(os.Stdout).Encode(t)
	os.Stdin.Read(make([]byte, 1))
	runtime.KeepAlive(nonce)
}
