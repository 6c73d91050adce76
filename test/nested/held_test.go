//go:build linux

package nested

import (
	"encoding/json"
	"errors"
	"fmt"
	gomaps "maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/capsicum-go/capsicum"
	"golang.org/x/sys/unix"
)

// heldEnv holds the way of a victim that was given descriptors, a file and a terminal,
// and a terminal by its name, without commands.
const heldEnv, namedEnv = "NESTED_HELD", "NESTED_NAMED"

const heldFile, heldTerminal = 3, 4

// heldCalls are what it tries. Some change what others find, so that each way has files
// of its own.
func heldCalls() map[string]func() error {
	calls := map[string]func() error{}
	on := func(name string, do func(fd int) error) {
		for what, fd := range map[string]int{"file": heldFile, "terminal": heldTerminal} {
			calls[name+": "+what] = func() error { return do(fd) }
			calls[name+", a copy: "+what] = func() error { return withCopy(fd, do) }
			calls[name+", sent: "+what] = func() error { return withSent(fd, do) }
		}
	}
	on("read", func(fd int) error { _, err := unix.Pread(fd, make([]byte, 1), 0); return err })
	on("write", writes)
	on("stat", func(fd int) error { return unix.Fstat(fd, new(unix.Stat_t)) })
	on("cut", cuts)
	on("chmod", func(fd int) error { return unix.Fchmod(fd, 0o600) })
	on("chown", func(fd int) error { return unix.Fchown(fd, os.Getuid(), os.Getgid()) })
	on("touch", func(fd int) error {
		_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, 0, 0, 0, 0)
		return asError(e)
	})
	on("sync", unix.Fsync)
	on("lock", func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	on("flags", func(fd int) error { _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK); return err })
	on("attribute", func(fd int) error { return unix.Fsetxattr(fd, "user.two", []byte("2"), 0) })
	on("map", func(fd int) error { return maps(fd, unix.PROT_READ) })
	on("map to write", func(fd int) error { return maps(fd, unix.PROT_READ|unix.PROT_WRITE) })
	on("fill", func(fd int) error { return unix.Fallocate(fd, 0, 0, 10) })
	on("attributes of the terminal", func(fd int) error { _, err := unix.IoctlGetTermios(fd, unix.TCGETS); return err })
	on("type into the terminal", func(fd int) error {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSTI, uintptr(unsafe.Pointer(&[]byte("x")[0])))
		return asError(e)
	})
	on("size of the terminal", func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 3, Col: 4}) })
	on("how much there is", func(fd int) error { _, err := unix.IoctlGetInt(fd, unix.TIOCINQ); return err })
	on("open again", func(fd int) error {
		again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = writes(again)
			unix.Close(again)
		}
		return err
	})
	return calls
}

func asError(e unix.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

func maps(fd, prot int) error {
	m, err := unix.Mmap(fd, 0, 4096, prot, unix.MAP_SHARED)
	if err == nil {
		err = unix.Munmap(m)
	}
	return err
}

func withCopy(fd int, do func(int) error) error {
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 600)
	if err != nil {
		return err
	}
	defer unix.Close(other)
	return do(other)
}

// withSent has the descriptor come back in a message.
func withSent(fd int, do func(int) error) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(fd), nil, 0); err != nil {
		return err
	}
	control := make([]byte, 64)
	_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("%d messages: %w", len(messages), unix.EBADMSG)
	}
	got, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(got) != 1 {
		return unix.EBADMSG
	}
	defer unix.Close(got[0])
	return do(got[0])
}

// namedCalls are those on the terminal that has a name, beneath root.
func namedCalls(root int) map[string]func() error {
	name := strings.TrimPrefix(os.Getenv(namedEnv), "/")
	calls := map[string]func() error{}
	for what, do := range map[string]func(int) error{
		"write: named": writes,
		"size of the terminal: named": func(fd int) error {
			return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 3, Col: 4})
		},
		"its size, of a copy: named": func(fd int) error {
			return withCopy(fd, func(fd int) error { _, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); return err })
		},
	} {
		calls[what] = func() error {
			fd, err := unix.Openat(root, name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open: %w", err)
			}
			defer unix.Close(fd)
			return do(fd)
		}
	}
	return calls
}

// holder makes every call and prints what came of each.
func holder(way string) int {
	root, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	calls := heldCalls()
	gomaps.Copy(calls, namedCalls(root))
	if way == "limited" || way == "both" {
		for _, fd := range []int{heldFile, heldTerminal, root} {
			if err := capsicum.LimitSetFD(fd, nearly); err != nil {
				fmt.Fprintln(os.Stderr, "limit:", err)
				return 2
			}
		}
	}
	if way == "mode" || way == "both" {
		if err := capsicum.Enter(); err != nil {
			fmt.Fprintln(os.Stderr, "enter:", err)
			return 2
		}
	}
	out := map[string]string{}
	for name, do := range calls {
		out[name] = "OK"
		if err := do(); err != nil {
			out[name] = err.Error()
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(out)
	return 0
}

// heldRights are what the descriptors are handed over with: the terminal, which can't be
// opened again with less, was opened for that.
var heldRights = map[string]int{
	"read,seek": unix.O_RDONLY, "ro": unix.O_RDONLY, "write": unix.O_WRONLY, "read,write,seek,ftruncate": unix.O_RDWR, "rw": unix.O_RDWR,
}

// terminal opens a terminal of its own, and returns its lower side.
func terminal(t *testing.T, mode int) *os.File {
	t.Helper()
	upper, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = upper.Close() })
	fd := int(upper.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	lower, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), mode|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lower.Close() })
	return lower
}

// TestNobodyGainsByDescriptors is TestNobodyGains for what --fd hands over with fewer
// rights than the open file permits, and for the commands of a device.
func TestNobodyGainsByDescriptors(t *testing.T) {
	program, exe := executables(t)
	users := []int{os.Geteuid()}
	if users[0] == 0 {
		users = append(users, ordinary)
	}
	for list := range heldRights {
		for _, uid := range users {
			t.Run(fmt.Sprintf("uid %d: %s", uid, list), func(t *testing.T) {
				got := result{}
				for _, way := range ways {
					got[way] = runHolder(t, program, exe, uid, list, way)
				}
				for name, plain := range got["plain"] {
					for _, way := range ways[1:] {
						if plain != "OK" && got[way][name] == "OK" {
							t.Errorf("%s: %s by itself, and done for a program whose way is %q", name, plain, way)
						}
					}
				}
				judgeHeld(t, list, got)
			})
		}
	}
}

// judgeHeld makes sure that something is done and something refused, so that the
// comparison means something.
func judgeHeld(t *testing.T, list string, got result) {
	t.Helper()
	for _, way := range ways {
		for name, want := range map[string]bool{
			"read: file": list != "write", "write: file": strings.Contains(list, "w"), "cut, sent: file": heldRights[list] == unix.O_RDWR,
			"write: named": true, "size of the terminal: named": false,
		} {
			if (got[way][name] == "OK") != want {
				t.Errorf("%s, %s: %s", way, name, got[way][name])
			}
		}
	}
}

func runHolder(t *testing.T, program, exe string, uid int, list, way string) map[string]string {
	t.Helper()
	base := scratch(t, exe)
	plant(t, base, exe)
	lower, named := terminal(t, heldRights[list]), terminal(t, unix.O_RDWR)
	if uid != os.Geteuid() {
		chown(t, base, uid)
		if err := errors.Join(lower.Chown(uid, uid), named.Chown(uid, uid)); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.OpenFile(filepath.Join(base, "f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(program, "--engine=namespaces", "--capsicum", fmt.Sprintf("--fd=%d=%s", heldFile, list), fmt.Sprintf("--fd=%d=%s", heldTerminal, list),
		"--cap", named.Name()+"=read,write,fstat,fcntl", "--env", heldEnv+"="+way, "--env", namedEnv+"="+named.Name(),
		"--allow-weaker=fstat,read,write,seek,event,lookup", "--", exe)
	cmd.Dir, cmd.SysProcAttr, cmd.ExtraFiles = "/", as(uid), []*os.File{file, lower}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	got := map[string]string{}
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	return got
}
