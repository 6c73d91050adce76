package supervisor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/notify/notifytest"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// The tests called TestInside run in a user, mount and PID namespace in which
// this process is the first one, as stage two is under the namespaces engine.
const insideEnv = "SUPERVISOR_TEST_INSIDE"

func TestNamespaces(t *testing.T) {
	if os.Getenv(insideEnv) != "" {
		return
	}
	for _, uid := range []int{0, 1500} {
		t.Run("uid="+strconv.Itoa(uid), func(t *testing.T) {
			if uid != 0 && os.Getuid() != 0 {
				uid = os.Getuid()
			}
			exe, err := os.Open("/proc/self/exe")
			if err != nil {
				t.Fatal(err)
			}
			defer exe.Close()
			cmd := exec.Command("/proc/self/fd/3", "-test.run=^TestInside$", "-test.v")
			cmd.ExtraFiles = []*os.File{exe}
			cmd.Dir = "/"
			cmd.Env = append(os.Environ(), insideEnv+"=1", "TMPDIR=/tmp")
			attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET}
			one := []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}}
			attr.UidMappings, attr.GidMappings = one, []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getgid(), Size: 1}}
			if os.Getuid() == 0 {
				many := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
				attr.UidMappings, attr.GidMappings = many, many
				attr.GidMappingsEnableSetgroups = true
				attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
			}
			attr.AmbientCaps = ambient(uid)
			cmd.SysProcAttr = attr
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, line := range strings.Split(string(out), "\n") {
				if strings.Contains(line, "SKIP") || strings.Contains(line, "measured") {
					t.Log(line)
				}
			}
			if !strings.Contains(string(out), "--- PASS: TestInside (") {
				t.Errorf("tests did not run:\n%s", out)
			}
		})
	}
}

// ambient are the capabilities stage two has in its user namespace whoever it
// runs as.
func ambient(uid int) []uintptr {
	if uid == 0 {
		return nil
	}
	all := make([]uintptr, unix.CAP_LAST_CAP+1)
	for i := range all {
		all[i] = uintptr(i)
	}
	return all
}

// inside is a sandbox with entries that are mounts.
type inside struct {
	dir      string
	mounts   map[uint64]*plan.Entry
	settings map[string]int // in place of the kernel's
}

// enter makes the mounts once: name → rights.
func enter(t *testing.T, entries map[string]rights.Set) *inside {
	t.Helper()
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("proc", "/proc", "proc", 0, ""))
	must(t, unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777"))
	in := &inside{dir: t.TempDir(), mounts: map[uint64]*plan.Entry{}}
	must(t, os.Chmod(filepath.Dir(in.dir), 0o755))
	for name, set := range entries {
		dir := in.dir + "/" + name
		must(t, os.Mkdir(dir, 0o755))
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0777"))
		t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
		var st unix.Statx_t
		must(t, unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_MNT_ID, &st))
		in.mounts[st.Mnt_id] = &plan.Entry{Dest: dir, Kind: plan.Dir, Rights: set}
	}
	return in
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// asked are the calls of the tests inside.
var asked = []uint32{
	unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG, unix.SYS_FLOCK,
	unix.SYS_FCHMOD, unix.SYS_FCHOWN, unix.SYS_FTRUNCATE, unix.SYS_FSETXATTR, unix.SYS_FGETXATTR,
	unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT, unix.SYS_TRUNCATE, unix.SYS_SETXATTR, unix.SYS_KILL, unix.SYS_TGKILL,
	unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_OPENAT2,
}

// run lets a victim carry out ops and compares what each one said.
func (in *inside) run(t *testing.T, o Options, attr *syscall.SysProcAttr, steps ...[2]string) {
	t.Helper()
	var ops []string
	for _, s := range steps {
		ops = append(ops, strings.ReplaceAll(s[0], "D/", in.dir+"/"))
	}
	var out bytes.Buffer
	sv := in.start(t, o, notifytest.Victim{Scenario: "ops", Args: ops, Calls: asked, Attr: attr, Stdout: &out})
	sv.finish(t)
	got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(got) != len(steps) {
		t.Fatalf("%d answers to %d operations:\n%s\n%s", len(got), len(steps), out.String(), sv.logs.text())
	}
	failed := false
	for i, s := range steps {
		if want := strings.ReplaceAll(s[1], "D/", in.dir+"/"); got[i] != want && want != "*" {
			t.Errorf("%s: %s, want %s", s[0], got[i], want)
			failed = true
		}
	}
	if failed {
		t.Log(sv.logs.text())
	}
}

func (in *inside) start(t *testing.T, o Options, v notifytest.Victim) *supervised {
	t.Helper()
	logs := new(lockedLog)
	o.Engine = policy.EngineNamespaces
	s, err := New(Config{Plan: new(plan.Plan), Options: o, Mounts: in.mounts, Logf: logs.add, Tracef: logs.add})
	must(t, err)
	s.settings = in.settings
	return superviseWith(t, s, logs, v)
}

// outsider is a server that is not in the sandbox. (Package net would make the
// test binary need libraries, and with it every victim.)
type outsider struct {
	fd       int
	accepted atomic.Int64
}

func serveOutside(t *testing.T, address string) *outsider {
	t.Helper()
	o := &outsider{fd: bindOutside(t, unix.SOCK_STREAM, address)}
	must(t, unix.Listen(o.fd, 64))
	go func() {
		for {
			fd, _, err := unix.Accept4(o.fd, unix.SOCK_CLOEXEC)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return
			}
			o.accepted.Add(1)
			if cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
				_, _ = unix.Write(fd, fmt.Appendf(nil, "you are %d", cred.Uid)) // the caller may have left
			}
			unix.Close(fd)
		}
	}()
	t.Cleanup(func() { _ = unix.Shutdown(o.fd, unix.SHUT_RDWR) })
	return o
}

func bindOutside(t *testing.T, typ int, address string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: address}))
	t.Cleanup(func() { unix.Close(fd) })
	if address[0] != '@' {
		must(t, os.Chmod(address, 0o777))
	}
	return fd
}

func TestInside(t *testing.T) {
	if os.Getenv(insideEnv) == "" {
		return // TestNamespaces runs it
	}
	in := enter(t, map[string]rights.Set{
		"rw":   policy.RW,
		"ro":   policy.RO,
		"srv":  policy.RO.Union(rights.Of(rights.Connectat)),
		"bare": rights.Of(rights.Lookup, rights.Read, rights.Write),
	})
	must(t, os.Mkdir(in.dir+"/none", 0o755))
	for _, test := range []struct {
		name string
		run  func(*testing.T, *inside)
	}{
		{"Sockets", insideSockets}, {"Abstract", insideAbstract}, {"Credentials", insideCredentials}, {"Metadata", insideMetadata},
		{"Flip", insideFlip}, {"Messages", insideMessages}, {"Signals", insideSignals}, {"Backlog", insideBacklog}, {"Open", insideOpen}, {"OpenLinks", insideOpenLinks},
		{"Full", insideFull}, {"Sticky", insideSticky},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, in) })
	}
}

func insideSockets(t *testing.T, in *inside) {
	granted, service, hidden := serveOutside(t, in.dir+"/srv/s"), serveOutside(t, in.dir+"/rw/bus"), serveOutside(t, in.dir+"/none/s")
	must(t, os.Symlink(in.dir+"/rw/bus", in.dir+"/srv/link"))
	must(t, os.WriteFile(in.dir+"/srv/file", nil, 0o666))
	for _, name := range []string{"srv/s", "rw/bus", "none/s"} { // unconfined each one answers
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		must(t, unix.Connect(fd, &unix.SockaddrUnix{Name: in.dir + "/" + name}))
		must(t, unix.Close(fd))
	}
	long := in.dir + "/rw/" + strings.Repeat("l", 107-len(in.dir)-4)
	in.run(t, Options{}, nil, [][2]string{
		{"socket unix stream", "ok"}, {"connect D/srv/s", "ok"}, {"read", "*"},
		{"socket unix stream", "ok"}, {"connect D/rw/bus", "EACCES"},
		{"connect D/srv/link", "EACCES"},
		{"connect D/none/s", "EACCES"},
		{"connect D/srv/none", "ENOENT"},
		{"connect D/srv/file", "ECONNREFUSED"},
		{"connect D/srv/file/x", "ENOTDIR"},
		{"connect /proc/self/root" + "D/srv/s", "ELOOP"},
		{"connect-len D/srv/s 2", "EINVAL"}, {"connect-len D/srv/s 200", "EINVAL"}, {"connect-len D/srv/s -1", "EINVAL"},
		{"connect-addr 0 16", "EFAULT"},
		{"connect-fd -1 D/srv/s", "EBADF"}, {"connect-fd 0 D/srv/s", "ENOTSOCK"},
		{"bind D/ro/s", "EROFS"}, {"bind D/srv/new", "EROFS"}, {"bind D/bare/s", "EACCES"}, {"bind D/none/x", "EROFS"},
		{"bind D/rw/bus", "EADDRINUSE"}, {"bind D/rw/no/s", "ENOENT"},
		{"bind D/rw/own", "ok"}, {"name", "D/rw/own"}, {"listen", "ok"},
		{"socket unix stream", "ok"}, {"connect D/rw/own", "ok"}, {"peer", "D/rw/own"},
		{"socket unix stream", "ok"}, {"chdir D/rw", "ok"}, {"bind rel", "ok"}, {"name", "rel"}, {"listen", "ok"},
		{"socket unix stream", "ok"}, {"bind ./x/../dot", "ENOENT"}, {"bind ../rw/dot", "ok"}, {"name", "../rw/dot"}, {"listen", "ok"},
		{"socket unix stream", "ok"}, {"connect rel", "ok"}, {"socket unix stream", "ok"}, {"connect D/rw/dot", "ok"},
		{"socket unix stream", "ok"}, {"bind " + long, "ok"}, {"name", long}, {"listen", "ok"},
		{"socket unix stream", "ok"}, {"connect " + long, "ok"},
		// Somebody else's socket under the name of one's own, and the reverse.
		{"rename D/rw/own D/rw/mine", "ok"}, {"rename D/rw/bus D/rw/own", "ok"},
		{"socket unix stream", "ok"}, {"connect D/rw/own", "EACCES"}, {"connect D/rw/mine", "ok"},
		{"socket inet stream", "ok"}, {"connect-inet", "ENETUNREACH"}, {"bind-inet", "EACCES"},
		{"meet D/rw/meet", "ok"},
	}...)
	if n := service.accepted.Load() + hidden.accepted.Load(); n != 2 {
		t.Errorf("%d connections to what was not granted", n-2)
	}
	if granted.accepted.Load() != 2 {
		t.Errorf("%d connections to what was granted, want 2", granted.accepted.Load())
	}
}

func insideAbstract(t *testing.T, in *inside) {
	serveOutside(t, "@capsicum-outside")
	private := [][2]string{
		{"socket unix stream", "ok"}, {"connect @capsicum-outside", "ok"},
		{"socket unix stream", "ok"}, {"bind @capsicum-own", "ok"}, {"listen", "ok"},
		{"socket unix stream", "ok"}, {"connect @capsicum-own", "ok"},
	}
	in.run(t, Options{}, nil, private...)
	// With the host's network the names are everybody's: only own ones then.
	in.run(t, Options{Net: true}, nil, [][2]string{
		{"socket unix stream", "ok"}, {"connect @capsicum-outside", "ECONNREFUSED"}, {"connect @capsicum-none", "ECONNREFUSED"},
		{"socket unix stream", "ok"}, {"bind @capsicum-own", "ok"}, {"name", "@capsicum-own"}, {"listen", "ok"},
		{"socket unix stream", "ok"}, {"connect @capsicum-own", "ok"},
		{"socket unix stream", "ok"}, {"bind", "ok"}, {"listen", "ok"}, {"socket unix stream", "ok"}, {"connect-auto", "ok"},
		{"dupclose", "ok"}, {"socket unix stream", "ok"}, {"connect @capsicum-own", "ok"},
		{"closeall", "ok"}, {"socket unix stream", "ok"}, {"connect @capsicum-own", "ECONNREFUSED"},
		{"bind @capsicum-outside", "EADDRINUSE"},
		{"socket inet stream", "ok"}, {"connect-inet", "*"},
	}...)
}

// insideCredentials: what a caller that gave up its user may not, the
// supervisor does not do for it, and peers are told the caller's user.
func insideCredentials(t *testing.T, in *inside) {
	ids, err := os.ReadFile("/proc/self/uid_map")
	must(t, err)
	if f := strings.Fields(string(ids)); os.Getuid() != 0 || f[2] == "1" {
		return // there is no other user to become
	}
	serveOutside(t, in.dir+"/srv/peer")
	must(t, os.MkdirAll(in.dir+"/srv/private", 0o700))
	l := serveOutside(t, in.dir+"/srv/private/s")
	must(t, os.Mkdir(in.dir+"/rw/private", 0o755))
	user := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 1234}}
	in.run(t, Options{}, nil, [][2]string{
		{"socket unix stream", "ok"}, {"connect D/srv/peer", "ok"}, {"read", "you are 0"},
		{"socket unix stream", "ok"}, {"connect D/srv/private/s", "ok"},
		{"socket unix stream", "ok"}, {"umask 077", "ok"}, {"bind D/rw/private/s0", "ok"}, {"mode D/rw/private/s0", "700 0"},
	}...)
	in.run(t, Options{}, user, [][2]string{
		{"socket unix stream", "ok"}, {"connect D/srv/peer", "ok"}, {"read", "you are 1234"},
		{"socket unix stream", "ok"}, {"connect D/srv/private/s", "EACCES"},
		{"bind D/rw/private/s", "EACCES"},
		{"umask 027", "ok"}, {"bind D/rw/theirs", "ok"}, {"mode D/rw/theirs", "750 1234"},
		{"chmod D/rw/theirs 0700", "ok"}, {"chmod D/rw/private 0777", "EPERM"}, {"chown D/rw/theirs 0", "EPERM"},
	}...)
	if n := l.accepted.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func insideMetadata(t *testing.T, in *inside) {
	for _, dir := range []string{"rw", "ro", "bare"} {
		must(t, os.WriteFile(in.dir+"/"+dir+"/file", []byte("text"), 0o666))
		must(t, os.Chmod(in.dir+"/"+dir+"/file", 0o666))
	}
	must(t, os.Symlink(in.dir+"/bare/file", in.dir+"/rw/tobare"))
	set, got := "ok", "1"
	if !hasUserAttributes(t, in.dir) {
		set, got = "ENOTSUP", "ENOTSUP"
	}
	in.run(t, Options{Lacking: syscalls.Guardable()}, nil, [][2]string{
		{"open D/rw/file rw", "ok"}, {"fchmod 0640", "ok"}, {"mode D/rw/file", "*"}, {"ftruncate 2", "ok"},
		{"fsetxattr user.a", set}, {"fgetxattr user.a", got}, {"flock ex", "ok"}, {"flock un", "ok"},
		{"chmod D/rw/file 0666", "ok"}, {"utimes D/rw/file", "ok"}, {"futimes", "ok"}, {"truncate D/rw/file 1", "ok"}, {"setxattr D/rw/file user.b", set},
		{"chmod D/rw/tobare 0600", "EPERM"}, {"chmod /proc/self/fd/4 0666", "*"},
		{"open D/bare/file rw", "ok"}, {"fchmod 0640", "EPERM"}, {"ftruncate 2", "EPERM"}, {"fchown", "EPERM"},
		{"fsetxattr user.a", "EPERM"}, {"fgetxattr user.a", "ENOTSUP"}, {"flock ex", "EBADF"}, {"flock sh", "ok"},
		{"futimes", "EPERM"}, {"chmod D/bare/file 0600", "EPERM"}, {"truncate D/bare/file 1", "EPERM"}, {"utimes D/bare/file", "EPERM"},
		{"setxattr D/bare/file user.b", "EPERM"},
		{"open D/ro/file r", "ok"}, {"fchmod 0640", "EROFS"}, {"flock ex", "EBADF"}, {"flock sh", "ok"}, {"ftruncate 1", "EROFS"},
		{"open D/rw/file path", "ok"}, {"fchmod 0600", "EBADF"}, {"ftruncate 1", "EBADF"}, {"fsetxattr user.c", "EBADF"},
		{"pipe", "ok"}, {"fchmod 0600", "ok"}, {"ftruncate 1", "EINVAL"},
		{"chmod D/rw/none 0600", "ENOENT"}, {"chmod D/rw/file/x 0600", "ENOTDIR"}, {"chmod /proc/self/comm 0600", "EACCES"},
		{"fchmod-num -1", "EBADF"}, {"fchmod-num 999", "EBADF"},
	}...)
	for _, dir := range []string{"bare", "ro"} {
		st, err := os.Stat(in.dir + "/" + dir + "/file")
		must(t, err)
		if st.Mode().Perm() != 0o666 || st.Size() != 4 {
			t.Errorf("%s/file changed: %v, %d bytes", dir, st.Mode(), st.Size())
		}
	}
}

func insideMessages(t *testing.T, in *inside) {
	granted := bindOutside(t, unix.SOCK_DGRAM, in.dir+"/srv/log")
	other := bindOutside(t, unix.SOCK_DGRAM, in.dir+"/rw/log")
	in.run(t, Options{Dgram: true}, nil, [][2]string{
		{"socket unix dgram", "ok"}, {"sendto D/srv/log hello", "5"}, {"sendto D/rw/log hello", "EACCES"}, {"sendto D/srv/none x", "ENOENT"},
		{"sendmsg D/srv/log there", "5"}, {"sendmsg D/rw/log there", "EACCES"}, {"sendmmsg D/srv/log again", "2"}, {"sendmmsg D/rw/log again", "EACCES"},
		{"connect D/srv/log", "ok"}, {"sendmsg - plain", "5"}, {"sendmsg-fd", "1"}, {"sendmsg-creds", "EPERM"}, {"sendto-big D/srv/log", "EMSGSIZE"},
		{"connect-unspec", "ok"}, {"connect D/rw/log", "EACCES"},
	}...)
	oob := make([]byte, 64)
	for _, want := range []string{"hello", "there", "again", "again", "plain", "f"} {
		buf := make([]byte, 100)
		n, oobn, _, _, err := unix.Recvmsg(granted, buf, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		must(t, err)
		if string(buf[:n]) != want {
			t.Errorf("received %q, want %q", buf[:n], want)
		}
		if want != "f" {
			continue
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		must(t, err)
		fds, err := unix.ParseUnixRights(&msgs[0])
		must(t, err)
		link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fds[0]))
		must(t, err)
		if link != "/dev/null" {
			t.Errorf("descriptor of %s, want /dev/null", link)
		}
		unix.Close(fds[0])
	}
	if n, _, err := unix.Recvfrom(other, make([]byte, 10), unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Errorf("%d bytes where nothing was granted, %v", n, err)
	}
}

func insideSignals(t *testing.T, in *inside) {
	in.run(t, Options{}, nil, [][2]string{
		{"kill self 0", "ok"}, {"kill 1 0", "ESRCH"}, {"kill 1 9", "ESRCH"}, {"kill 99999 0", "ESRCH"}, {"kill self 99", "EINVAL"},
		{"child", "ok"}, {"kill child 0", "ok"}, {"tgkill child 0", "ok"}, {"pidfd child 0", "ok"}, {"kill child 9", "ok"}, {"reap", "9"},
		{"child", "ok"}, {"kill group 0", "ok"}, {"ignore 15", "ok"}, {"kill group 15", "ok"}, {"reap", "15"},
		{"child", "ok"}, {"kill -1 10", "ok"}, {"reap", "10"},
		{"tgkill 1 9", "ESRCH"}, {"pidfd 1 9", "ESRCH"},
	}...)
}

// insideBacklog: a connect that waits for room does not hold up others, and
// goes on when there is room.
func insideBacklog(t *testing.T, in *inside) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: in.dir + "/srv/full"}))
	must(t, os.Chmod(in.dir+"/srv/full", 0o777))
	must(t, unix.Listen(fd, 0))
	other := serveOutside(t, in.dir+"/srv/other")
	done := make(chan struct{})
	defer close(done)
	go func() {
		for other.accepted.Load() < 2 { // there is no room before
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
		for range 2 {
			if nfd, _, err := unix.Accept(fd); err == nil {
				defer unix.Close(nfd)
			}
		}
		<-done
	}()
	in.run(t, Options{}, nil, [][2]string{
		{"socket unix stream", "ok"}, {"connect D/srv/full", "ok"},
		{"background-connect D/srv/full", "ok"},
		{"socket unix stream", "ok"}, {"connect D/srv/other", "ok"},
		{"socket unix stream", "ok"}, {"nonblock", "ok"}, {"connect D/srv/full", "EAGAIN"},
		{"socket unix stream", "ok"}, {"connect D/srv/other", "ok"},
		{"background-wait", "ok"},
	}...)
}

// insideFlip: an address that is rewritten all the time, from the same and
// from another process, never leads to what was not granted.
func insideFlip(t *testing.T, in *inside) {
	good, bad := serveOutside(t, in.dir+"/srv/a"), serveOutside(t, in.dir+"/rw/b")
	for _, how := range []string{"thread", "process"} {
		sv := in.start(t, Options{}, notifytest.Victim{
			Scenario: "flip", Args: []string{how, in.dir + "/srv/a", in.dir + "/rw/b"}, Calls: asked,
		})
		sv.finish(t)
	}
	if n := bad.accepted.Load(); n != 0 {
		t.Errorf("%d connections to what was not granted", n)
	}
	if good.accepted.Load() == 0 {
		t.Error("no connection to what was granted")
	}
}

// victimFlip connects over and over to an address in shared memory that
// somebody else switches between two names of the same length.
func victimFlip(args []string) int {
	how, names := args[0], args[1:3]
	if len(names[0]) != len(names[1])+1 && len(names[0]) != len(names[1]) {
		fmt.Println("names differ in length")
	}
	mem, err := flipMemory(how)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var addrs [2][]byte
	for i, n := range names {
		addrs[i] = append(binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX), n...)
		addrs[i] = append(addrs[i], make([]byte, 110-len(addrs[i]))...)
	}
	stop, err := startFlipping(how, mem, addrs, args)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer stop()
	answers := map[unix.Errno]int{}
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return 1
		}
		_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&mem[0])), 110)
		answers[e]++
		unix.Close(fd)
	}
	fmt.Println("measured:", how, "flips the address:", answers)
	if answers[0] == 0 || answers[unix.EACCES] == 0 {
		return 2 // the race was not run
	}
	return 0
}

func flipMemory(how string) ([]byte, error) {
	fd := 0
	var err error
	if how == "flipper" {
		fd = 3
	} else if fd, err = unix.MemfdCreate("flip", 0); err != nil {
		return nil, err
	} else if err = unix.Ftruncate(fd, 4096); err != nil && err != unix.EACCES {
		return nil, err
	}
	mem, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err == nil && how == "process" {
		err = unix.Dup2(fd, 100)
	}
	return mem, err
}

func flipForever(mem []byte, addrs [2][]byte, stop *atomic.Bool) {
	for i := 0; !stop.Load(); i++ {
		copy(mem, addrs[i%2])
	}
}

func startFlipping(how string, mem []byte, addrs [2][]byte, args []string) (func(), error) {
	var stop atomic.Bool
	switch how {
	case "flipper":
		flipForever(mem, addrs, &stop) // until killed
	case "process":
		cmd := exec.Command("/proc/self/exe", append([]string{"flipper"}, args[1:]...)...)
		cmd.ExtraFiles = []*os.File{os.NewFile(100, "flip")}
		cmd.Env = append(os.Environ(), "CAPSICUM_NOTIFYTEST_SCENARIO=flip")
		err := cmd.Start()
		return func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}, err
	}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		flipForever(mem, addrs, &stop)
	}()
	return func() { stop.Store(true); wg.Wait() }, nil
}
