package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// userID is the ordinary user that a bench run by root measures as.
const userID = 1500

// inside marks the bench that runs in a mount namespace of its own.
const inside = "CAPSICUM_BENCH_DIR"

// bed is where workloads live: a directory that the ordinary user owns.
type bed struct {
	dir   string
	quick bool
	drop  bool     // change to userID before each program
	env   []string // the same for every tool
	bin   string   // capsicum
	own   bool     // we made dir, so we remove it
}

// newBed makes the directory, or takes the one that the bench outside made.
func newBed(c config) (*bed, error) {
	b := &bed{quick: c.quick, drop: os.Getuid() == 0, bin: c.capsicum}
	if b.dir = os.Getenv(inside); b.dir == "" {
		if err := b.create(c.dir); err != nil {
			return nil, err
		}
	}
	if b.bin == "" {
		b.bin = filepath.Join(b.dir, "bin", "capsicum")
	}
	b.env = []string{
		"PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/go/bin", "HOME=" + b.path("home"), "TMPDIR=" + b.path("tmp"),
		"LC_ALL=C.UTF-8", "TERM=dumb", "USER=bench", "LOGNAME=bench", "SHELL=/bin/sh",
	}
	return b, nil
}

func (b *bed) create(parent string) error {
	dir, err := os.MkdirTemp(parent, "capsicum-bench-")
	if err != nil {
		return fmt.Errorf("make a place for workloads: %w", err)
	}
	// firejail and bubblewrap compare names; a symlink in ours would be noise.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return fmt.Errorf("make a place for workloads: %w", err)
	}
	b.dir, b.own = dir, true
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("make a place for workloads: %w", err)
	}
	for _, name := range []string{"home", "tmp"} {
		if err := b.mkdir(name); err != nil {
			return err
		}
	}
	if b.bin != "" {
		return nil
	}
	bin := filepath.Join(dir, "bin", "capsicum")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, "github.com/capsicum-go/capsicum/cmd/capsicum")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build capsicum: %w\n%s", err, out)
	}
	return nil
}

// close removes what create made.
func (b *bed) close() {
	if b.own {
		os.RemoveAll(b.dir)
	}
}

// path is a name in the bed.
func (b *bed) path(parts ...string) string {
	return filepath.Join(append([]string{b.dir}, parts...)...)
}

// mkdir makes a directory of the user's.
func (b *bed) mkdir(parts ...string) error {
	name := b.path(parts...)
	if err := os.MkdirAll(name, 0o755); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	for ; name != b.dir; name = filepath.Dir(name) {
		if err := b.give(name); err != nil {
			return err
		}
	}
	return nil
}

// write makes a file of the user's.
func (b *bed) write(content string, parts ...string) error {
	name := b.path(parts...)
	if err := b.mkdir(filepath.Join(parts[:len(parts)-1]...)); err != nil {
		return err
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	return b.give(name)
}

func (b *bed) give(name string) error {
	if !b.drop {
		return nil
	}
	if err := os.Chown(name, userID, userID); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	return nil
}

// command prepares a program as the ordinary user.
func (b *bed) command(cwd string, argv []string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = b.env
	cmd.Dir = cwd
	// A group of its own, so that a run that takes too long ends as a whole.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if b.drop {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: userID, Gid: userID}
	}
	return cmd
}

// do runs a step of a preparation and wants it to succeed.
func (b *bed) do(cwd string, argv ...string) error {
	if out, err := b.command(cwd, argv).CombinedOutput(); err != nil {
		return fmt.Errorf("prepare: %s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// again runs this program once more where the ordinary user has an account. What
// interrupts us goes to that one; we clean up after it.
func (b *bed) again(args []string, interrupted <-chan os.Signal) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if err := b.accounts(); err != nil {
		return err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), inside+"="+b.dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start in a mount namespace: %w", err)
	}
	go func() {
		for sig := range interrupted {
			// It may have ended meanwhile.
			_ = cmd.Process.Signal(sig)
		}
	}()
	return cmd.Wait()
}

// accounts writes a passwd and a group that know the user.
func (b *bed) accounts() error {
	for name, line := range map[string]string{
		"passwd": fmt.Sprintf("bench:x:%d:%d::%s:/bin/sh\n", userID, userID, b.path("home")),
		"group":  fmt.Sprintf("bench:x:%d:\n", userID),
	} {
		old, err := os.ReadFile("/etc/" + name)
		if err != nil {
			return fmt.Errorf("read accounts: %w", err)
		}
		if err := os.WriteFile(b.path(name), append(old, line...), 0o644); err != nil {
			return fmt.Errorf("write accounts: %w", err)
		}
	}
	return nil
}

// mountAccounts puts them in place, in our own mount namespace.
func (b *bed) mountAccounts() error {
	if !b.drop {
		return nil
	}
	for _, name := range []string{"passwd", "group"} {
		if err := unix.Mount(b.path(name), "/etc/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", name, err)
		}
	}
	return nil
}
