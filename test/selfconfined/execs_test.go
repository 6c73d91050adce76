//go:build linux

package selfconfined

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

const fuse = "/dev/fuse"

// besideExecs are calls beside an exec that the kernel does not finish. Meanwhile it
// answers nobody who would look into that process, and lets them wait.
var besideExecs = []attack{
	{name: "beside an exec that a file system holds up", root: true, do: besideExec},
	{name: "an exec whose program looks like the one before", do: sameProgram},
}

// sameProgram executes, where addresses are not random, the same program with arguments of
// the same size: by itself, and in a child. What closes then must not come back.
func sameProgram(a *attacker) error {
	const (
		notRandom = 0x0040000 // ADDR_NO_RANDOMIZE
		number    = 41
	)
	stage := func(to string) []string {
		return append(slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, stageEnv+"=") }), stageEnv+"="+to)
	}
	switch os.Getenv(stageEnv) {
	case "":
		if _, _, err := unix.Syscall(unix.SYS_PERSONALITY, notRandom, 0, 0); err != 0 {
			return err
		}
		return unix.Exec("/proc/self/exe", os.Args, stage("1"))
	case "1":
		check(unix.Dup3(a.file("it", "it"), number, unix.O_CLOEXEC))
		a.limit(number, rights.Read, rights.Fcntl)
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Env = stage("2")
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != succeeded {
			return fmt.Errorf("in a child: %s, %w", out, err)
		}
		if _, err := unix.Read(number, make([]byte, 1)); err != nil {
			return fmt.Errorf("the child's exec closed the parent's: %w", err)
		}
		return unix.Exec("/proc/self/exe", os.Args, stage("3"))
	}
	for range 10 { // the first call that asks is what shows the supervisor that this is here
		_, _ = unix.FcntlInt(number, unix.F_GETFD, 0)
		if n, err := unix.Read(number, make([]byte, 1)); err == nil {
			return fmt.Errorf("%d bytes are read from what was closed", n)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// besideExec has a process close a file that nobody lets be closed, by executing; and a
// child of that process, which the supervisor may not look into, ask for a copy of what
// they share, so that the supervisor turns to the parent. Other calls must be answered.
func besideExec(a *attacker) error {
	if os.Getenv(stageEnv) != "" {
		return neverFlushed(os.Getenv(stageEnv))
	}
	fd, err := device(fuse)
	if err != nil {
		return err
	}
	check(unix.Close(fd))
	stuck := a.dir + "/stuck"
	check(errors.Join(os.WriteFile(stuck, nil, 0o600), os.Chmod(a.dir, 0o755)))
	check(unix.Unshare(unix.CLONE_NEWNS))
	check(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	// A process of its own, which ends with this one: then everything goes on.
	server := exec.Command("/proc/self/exe")
	server.Env = append(os.Environ(), stageEnv+"="+stuck)
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	server.Stderr = os.Stderr
	says := bufio.NewScanner(must(server.StdoutPipe()))
	check(server.Start())
	if !says.Scan() {
		return fmt.Errorf("%w: no file system", errBroken)
	}
	limited := a.file("it", "it")
	// An ordinary user from here on, as root's supervisor may look into every process.
	check(errors.Join(syscall.Setgroups(nil), syscall.Setresgid(1500, 1500, 1500), syscall.Setresuid(1500, 1500, 1500)))
	check(unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
	a.limit(limited, rights.Read)
	var cue [2]int
	check(unix.Pipe(cue[:]))
	var parent, child script.Sequence
	child.Do("hide", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	child.Do("wait", unix.SYS_READ, cue[0], script.Struct(new([8]byte)), 1)
	child.Do("copy", unix.SYS_DUP, limited)
	child.Do("end", unix.SYS_EXIT_GROUP, 0)
	parent.Clone("fork", uintptr(unix.SIGCHLD), &child, script.NewValue())
	parent.Do("open", unix.SYS_OPENAT, unix.AT_FDCWD, script.String(stuck), unix.O_RDWR|unix.O_CLOEXEC, 0)
	parent.Do("execute", unix.SYS_EXECVE, script.String("/bin/true"), script.Strings([]string{"true"}), script.Strings(nil))
	must(script.Start(uintptr(unix.SIGCHLD), &parent))
	if !says.Scan() {
		return fmt.Errorf("%w: nothing is executed", errBroken)
	}
	_ = must(unix.Write(cue[1], []byte("x")))
	time.Sleep(50 * time.Millisecond)
	end := make(chan error, 1)
	go func() {
		for range 20_000 { // the supervisor's garbage is collected meanwhile
			n, err := unix.Dup(limited)
			if err == nil {
				err = unix.Close(n)
			}
			if err != nil {
				end <- err
				return
			}
		}
		end <- nil
	}()
	select {
	case err := <-end:
		return err
	case <-time.After(time.Minute):
		return errors.New("nobody answers")
	}
}

// neverFlushed is a file system: one file, under a name that there is. Whoever closes it
// waits. It says when it is there, and when somebody does.
func neverFlushed(name string) error {
	const (
		flush, initialise = 25, 26 // opcodes of fuse(4)
		major, minor      = 7, 31  // of its protocol
	)
	dev := must(unix.Open(fuse, unix.O_RDWR|unix.O_CLOEXEC, 0))
	check(unix.Mount("none", name, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=100000,user_id=0,group_id=0,allow_other", dev)))
	fmt.Println("mounted")
	for request := make([]byte, 1<<17); ; {
		n, err := unix.Read(dev, request)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n < 40 {
			return err
		}
		word := binary.NativeEndian
		unique := word.Uint64(request[8:])
		var body []byte
		errno := int32(unix.ENOSYS) // and the kernel does without
		switch word.Uint32(request[4:]) {
		case flush:
			fmt.Println("closed")
			continue
		case initialise:
			body, errno = make([]byte, 64), 0
			word.PutUint32(body, major)
			word.PutUint32(body[4:], minor)
			word.PutUint32(body[20:], 4096) // the longest write
		}
		answer := word.AppendUint32(nil, uint32(16+len(body)))
		answer = word.AppendUint32(answer, uint32(-errno))
		answer = word.AppendUint64(answer, unique)
		if _, err := unix.Write(dev, append(answer, body...)); err != nil && err != unix.ENOENT {
			return err
		}
	}
}
