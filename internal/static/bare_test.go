package static

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// TestNoThread runs what has no thread to spare, in programs without cgo: with it the
// runtime has one more from the start. Few processors make few threads, too.
func TestNoThread(t *testing.T) {
	exe := withoutC(t)
	for _, processors := range []string{"1", ""} {
		for range 20 {
			cmd := child("bare", "GOMAXPROCS="+processors)
			cmd.Path = exe
			cmd.Dir = t.TempDir()
			if os.Getuid() == 0 { // whom the limit does not hold
				asUser(t, cmd, 1500)
			}
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "case done") {
				t.Fatalf("with processors %q: %v\n%s", processors, err, out)
			}
		}
	}
}

// withoutC returns a program of these tests without cgo.
func withoutC(t *testing.T) string {
	self := "/proc/self/exe"
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "0"}) {
		return self
	}
	dir, err := os.MkdirTemp("", "capsicum-static-") // others can go into, unlike t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "static.test")
	build := exec.Command("go", "test", "-c", "-o", exe, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("no program without cgo: %v\n%s", err, out)
	}
	return exe
}

// bareCase has no descriptor, no process and no thread to spare.
func bareCase(c *check) {
	fd := c.file(unix.O_RDONLY)
	c.must("no descriptors", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{}))
	c.must("no processes", unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{}))
	_, err := unix.Dup(fd)
	c.is("dup", err, unix.EMFILE)
	c.is("limit", LimitRights(fd, rights.Of(rights.Read)), nil)
	c.is("enter", Enter(), nil)
	c.is("pread", pread(fd), eN)
	_, err = unix.Read(fd, one)
	c.is("read", err, nil)
	c.is("access", unix.Access("file", 0), eC)
}

// fewCase has one descriptor to spare, and nothing that has opened the runtime's own.
func fewCase(c *check) {
	next, err := unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	c.must("open", err)
	c.must("close", unix.Close(next))
	n := uint64(next) + 1
	c.must("one descriptor", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}))
	c.is("enter", Enter(), nil)
	c.is("access", unix.Access("file", 0), eC)
}

// notTold has the kernel refuse to tell whether there are rings, which nobody may take
// for no filters.
func notTold(c *check, errno, want unix.Errno) {
	fd := c.file(unix.O_RDONLY)
	c.must("filter", sys.InstallAll([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_OPENAT},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}))
	c.is("limit", LimitRights(fd, rights.Of(rights.Read)), want)
	c.is("enter", Enter(), want)
	c.is("pread of what is not limited", pread(fd), nil)
	if in, err := Mode(); in || err != nil {
		c.failf("mode: %v, %v", in, err)
	}
}

func chrootCase(c *check) {
	fd := c.file(unix.O_RDONLY)
	c.must("mkdir", os.Mkdir("empty", 0o755))
	if os.Getuid() == 0 {
		c.must("chroot", unix.Chroot("empty"))
		c.must("chdir", unix.Chdir("/"))
	} else {
		c.must("chdir", unix.Chdir("empty")) // an ordinary user has no chroot of its own
	}
	c.is("limit", LimitRights(fd, rights.Of(rights.Read)), nil)
	c.is("enter", Enter(), nil)
	c.is("pread", pread(fd), eN)
	c.is("access", unix.Access("/", 0), eC)
}

// closedCase has a root directory that is another's.
func closedCase(c *check) {
	if os.Getuid() != 0 {
		return // has no chroot of its own
	}
	c.must("mkdir", os.Mkdir("closed", 0o700))
	c.must("chroot", unix.Chroot("closed"))
	c.must("chdir", unix.Chdir("/"))
	c.must("setuid", unix.Setresuid(1500, 1500, 1500))
	c.is("access", unix.Access("/.", 0), unix.EACCES)
	c.is("enter", Enter(), nil)
	c.is("access", unix.Access("/", 0), eC)
}
