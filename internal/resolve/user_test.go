package resolve

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	ordinaryID = 1500
	childEnv   = "CAPSICUM_RESOLVE_TEST_CHILD"
)

// TestAsOrdinaryUser runs all tests again without root's privileges.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv(childEnv) == "" {
			t.Skip("already an ordinary user")
		}
		return
	}
	tmp, err := os.MkdirTemp("", "resolve")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chown(tmp, ordinaryID, ordinaryID); err != nil {
		t.Fatal(err)
	}
	// The test binary lies where only root may search; this name leads to it
	// whoever we are.
	cmd := exec.Command("/proc/self/exe", "-test.count=1", "-rapid.nofailfile")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, childEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinaryID, Gid: ordinaryID}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// needOrdinary skips a test that root's privileges would make meaningless.
// TestAsOrdinaryUser runs it then.
func needOrdinary(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root ignores modes; TestAsOrdinaryUser runs this")
	}
}

func TestPermissions(t *testing.T) {
	needOrdinary(t)
	root := makefs(t, "w/", "p*", "locked/d/", "dark/d/f", "dark/x*", "secret", "s! #!/dark/x\n", "only*")
	for name, mode := range map[string]os.FileMode{"locked": 0, "dark": 0o100, "secret": 0, "only": 0o111} {
		full := filepath.Join(root.Name(), name)
		if err := os.Chmod(full, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(full, 0o700) })
	}
	for _, c := range []struct {
		flag string
		want error
	}{
		{"ro /locked", nil}, // may be named; opening it is for the kernel to refuse
		{"ro /locked/d", unix.EACCES},
		{"ro ?/locked/d", unix.EACCES}, // not missing, as far as anyone can tell
		{"ro /dark/d/f", nil},
		{"rw /secret", nil},
		{"run /secret", unix.EACCES},
		{"run /locked/d", unix.EACCES},
		{"run /s", nil},
	} {
		_, err := Build(flags(t, c.flag), Host{Root: root, Cwd: "/w"})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.flag, err, c.want)
		}
		if c.want != nil && strings.HasPrefix(c.flag, "ro") && !strings.Contains(err.Error(), "/locked/d: permission denied (you need search permission") {
			t.Errorf("%s: %q does not say where and what to do", c.flag, err)
		}
	}
	var told []string
	got, err := Build(flags(t, "run /only"), Host{Root: root, Cwd: "/w", Warn: func(m string) { told = append(told, m) }})
	if err != nil || len(got.Entries) != 1 || len(told) != 1 || !strings.Contains(told[0], "can not be read") {
		t.Errorf("a program that may only be executed: %+v, %v, told %q", got, err, told)
	}
}

// TestPlantedLinks checks that a link that someone left in a directory like /tmp
// is not followed, as the kernel would not.
func TestPlantedLinks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make another user's link")
	}
	root := makefs(t, "w/", "p*", "tmp/own => ../a", "tmp/planted => ../a", "plain/planted => ../a", "a/")
	if err := os.Chmod(filepath.Join(root.Name(), "tmp"), os.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tmp/planted", "plain/planted"} {
		if err := os.Lchown(filepath.Join(root.Name(), name), ordinaryID, ordinaryID); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]error{"/tmp/own": nil, "/plain/planted": nil, "/tmp/planted": unix.EACCES} {
		if _, err := Build(flags(t, "rw "+name), Host{Root: root, Cwd: "/w"}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}
