//go:build linux

// Package selfconfined attacks processes that confine themselves. Each attack is made
// twice, in processes of their own: by one that limits nothing, where it must
// succeed - otherwise its failure would prove nothing - and by one that does, where
// it must fail.
package selfconfined

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/internal/attach"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// How a process knows what it is here.
const (
	attackEnv   = "SELFCONFINED_ATTACK"
	confinedEnv = "SELFCONFINED_CONFINED"
	dirEnv      = "SELFCONFINED_DIR"
	stageEnv    = "SELFCONFINED_STAGE" // of a program that an attack executes
)

// The exit statuses of an attacker.
const (
	succeeded = 40
	refused   = 41
	broken    = 42 // it did not come to the attack
	notHere   = 43 // what it is about is not here
)

// attack is something that a limited descriptor, or capability mode, must prevent.
type attack struct {
	name string
	root bool // only root can make it
	// alone is without a supervisor, by filters alone.
	alone bool
	// do returns nil if it reached what it must not, and [errAbsent] if that is not here.
	do func(*attacker) error
}

// attacker is the process that attacks.
type attacker struct {
	confined bool
	alone    bool
	dir      string // scratch
}

// errBroken marks what went wrong before the attack.
var errBroken = errors.New("before the attack")

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(fmt.Errorf("%w: %w", errBroken, err))
	}
}

// limit limits fd, in the process that is confined.
func (a *attacker) limit(fd int, r ...rights.Right) {
	if a.confined {
		check(capsicum.LimitFD(fd, r...))
	}
}

func (a *attacker) enter() {
	switch {
	case !a.confined:
		return
	case a.alone:
		withoutDescriptors(func() { check(capsicum.Enter()) })
	default:
		check(capsicum.Enter())
	}
	if attach.Supervised() == a.alone {
		panic(fmt.Errorf("%w: the other form", errBroken))
	}
}

// withoutDescriptors does something while no descriptor can be had.
func withoutDescriptors(do func()) {
	time.Sleep(time.Microsecond) // the runtime opens its own
	next := must(unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0))
	check(unix.Close(next))
	var was unix.Rlimit
	check(unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	check(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: was.Max}))
	do()
	check(unix.Setrlimit(unix.RLIMIT_NOFILE, &was))
}

// inBothForms is the attacks of list, and the same against who has no supervisor.
func inBothForms(list []attack) []attack {
	both := slices.Clone(list)
	for _, at := range list {
		at.name, at.alone = at.name+", without a supervisor", true
		both = append(both, at)
	}
	return both
}

// file makes a file with text in it, open for reading and writing.
func (a *attacker) file(name, text string) int {
	path := filepath.Join(a.dir, name)
	check(os.WriteFile(path, []byte(text), 0o600))
	return must(unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0))
}

// derived returns a copy of fd, after that was limited.
func (a *attacker) derived(fd int, r ...rights.Right) int {
	a.limit(fd, r...)
	return must(unix.Dup(fd))
}

// An attack begins on the first thread.
func init() {
	if os.Getenv(attackEnv) != "" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	name := os.Getenv(attackEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	for _, at := range slices.Concat(attacks(), unnoticed, withoutNumbers, besideForks, besideGreed, besideExecs, facts) {
		if at.name == name {
			os.Exit(at.make())
		}
	}
	os.Exit(broken)
}

// make makes the attack, in this process.
func (at attack) make() (status int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintln(os.Stderr, p)
			status = broken
		}
	}()
	a := &attacker{confined: os.Getenv(confinedEnv) == "1", alone: at.alone, dir: os.Getenv(dirEnv)}
	err := at.do(a)
	fmt.Fprintln(os.Stderr, "outcome:", err)
	switch {
	case err == nil:
		return succeeded
	case errors.Is(err, errAbsent):
		return notHere
	}
	return refused
}

func attacks() []attack {
	var all []attack
	for _, list := range [][]attack{numberAttacks, nameAttacks, processAttacks, waitAttacks, messageAttacks, listenerAttacks, ringAttacks, programAttacks,
		deviceAttacks, inBothForms(machineAttacks)} {
		all = append(all, list...)
	}
	return all
}

// users returns who attacks: whoever runs the tests, and an ordinary user.
func users() map[string]*syscall.Credential {
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() == 0 {
		users["user"] = &syscall.Credential{Uid: 1500, Gid: 1500}
	}
	return users
}

// TestUnnoticed makes sure that a limit of one descriptor changes nothing for others.
func TestUnnoticed(t *testing.T) {
	for _, at := range slices.Concat(unnoticed, withoutNumbers, besideForks, besideGreed, besideExecs) {
		for who, cred := range users() {
			if at.root && (cred != nil || os.Geteuid() != 0) {
				continue
			}
			for _, confined := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/confined=%v", at.name, who, confined), func(t *testing.T) {
					switch got, out := at.run(t, cred, confined); got {
					case succeeded:
					case notHere:
						t.Skip(out)
					default:
						t.Errorf("it ends with %d\n%s", got, out)
					}
				})
			}
		}
	}
}

func TestAttacks(t *testing.T) {
	for _, at := range attacks() {
		for who, cred := range users() {
			if at.root && (cred != nil || os.Geteuid() != 0) {
				continue
			}
			t.Run(at.name+"/"+who, func(t *testing.T) {
				switch got, out := at.run(t, cred, false); got {
				case succeeded:
				case notHere:
					t.Skip(out)
				default:
					t.Fatalf("unconfined it ends with %d, so that it proves nothing\n%s", got, out)
				}
				if got, out := at.run(t, cred, true); got != refused {
					t.Errorf("confined it ends with %d\n%s", got, out)
				}
			})
		}
	}
}

// run makes the attack in another process.
func (at attack) run(t *testing.T, cred *syscall.Credential, confined bool) (int, string) {
	t.Helper()
	return at.runUnder(t, cred, confined, func(string) []string { return []string{"/proc/self/exe"} })
}

// runUnder does so by a command, which is told the scratch directory.
func (at attack) runUnder(t *testing.T, cred *syscall.Credential, confined bool, command func(dir string) []string) (int, string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "selfconfined")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	argv := command(dir)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), attackEnv+"="+at.name, dirEnv+"="+dir)
	if confined {
		cmd.Env = append(cmd.Env, confinedEnv+"=1")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Setpgid: true}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(3*time.Minute, func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	defer timer.Stop()
	_ = cmd.Wait()
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	return cmd.ProcessState.ExitCode(), out.String()
}

// bystander starts a process that only waits, in this one's process group.
func bystander() *exec.Cmd {
	cmd := exec.Command("/bin/sleep", "600")
	check(cmd.Start())
	return cmd
}

// dies is nil if a bystander ends, by a signal.
func dies(cmd *exec.Cmd) error {
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	select {
	case <-end:
		return nil
	case <-time.After(time.Minute):
		return errors.New("the other process lives")
	}
}

func ignore(sigs ...os.Signal) { signal.Ignore(sigs...) }
