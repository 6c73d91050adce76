// Package attach gives the running process a supervisor: another process, of the
// same executable, that answers what its filter asks.
//
// The supervisor is nobody's child that the program knows of: no wait returns it,
// no signal tells of its end, and no descriptor is left in the program. It ends
// with the last process that it serves.
package attach

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/script"
	"github.com/capsicum-go/capsicum/internal/sys"
)

// Start attaches a supervisor to this process, with all its threads. After an error
// nothing has changed, but that nobody is named to Yama any more; or everything that would
// be asked is refused. It must not be called twice at a time.
func Start() error {
	if Supervised() {
		return fmt.Errorf("start a second supervisor: %w", unix.EBUSY)
	}
	p, fd, err := newPage()
	if err != nil {
		return err
	}
	defer p.unmap()
	pid, err := spawn(fd.Int())
	if err != nil {
		fd.CloseSoon()
		return err
	}
	return handOver(p, fd, pid)
}

// handOver shows this process to its supervisor, and installs the filter once
// that has found that it can do its work.
func handOver(p *page, fd *sys.FD, pid int) error {
	// No call that the filter asks about: there may be nobody to answer.
	alive := func() bool { return sys.Lives(pid) }
	err := introduce(p, pid)
	if err == nil {
		err = p.await(stateReady, alive)
	}
	fd.CloseSoon()
	if err != nil {
		return errors.Join(fmt.Errorf("start the supervisor: %w", err), name(0)) // it may be another process's number
	}
	return install(p, alive)
}

// introduce lets the supervisor look into this process.
func introduce(p *page, pid int) error {
	if err := name(pid); err != nil {
		return err
	}
	p.set(stateIntroduced)
	return nil
}

// name names the supervisor, or with 0 nobody, to Yama, which at scope 1 lets only
// ancestors look into a process, and whom that one names; without Yama there is no such
// option.
func name(pid int) error {
	if err := sys.Prctl(unix.PR_SET_PTRACER, uintptr(pid)); err != nil && err != unix.EINVAL {
		return fmt.Errorf("name the supervisor to Yama: %w", err)
	}
	return nil
}

// install installs the filter and gives its listener away.
func install(p *page, alive func() bool) error {
	// No child may get the listener.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	listener, err := sys.InstallListener(p.code[:min(p.count, uint32(len(p.code)))])
	if err != nil {
		p.listener = -1
		p.set(stateInstalled) // it ends
		return errors.Join(err, name(0))
	}
	p.listener = int32(listener)
	p.set(stateInstalled)
	err = p.await(stateServing, alive)
	// A close that the filter does not ask about: nobody may be there to answer.
	if cerr := sys.CloseUnasked(listener); err == nil {
		err = cerr
	}
	if err != nil {
		// Whatever asks fails from now on. There is no way back.
		return fmt.Errorf("hand the filter to the supervisor: %w", err)
	}
	return nil
}

// spawn starts the supervisor, by way of a process that ends at once: who is
// nobody's child is init's.
func spawn(shared int) (int, error) {
	var between, last script.Sequence
	pid := script.NewValue()
	between.Clone("fork the supervisor", unix.CLONE_VM|uintptr(unix.SIGCHLD), &last, pid)
	between.Do("end", unix.SYS_EXIT_GROUP, 0)
	if err := become(&last, shared); err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(&last)
	defer runtime.KeepAlive(&between)
	err := sys.WithoutAdopting(func() error {
		// No signal tells of its end, and only a wait that asks for such children
		// collects it.
		n, err := script.Start(unix.CLONE_VM, &between)
		if err != nil {
			return err
		}
		_, err = sys.Collect(n, unix.WALL)
		return err
	})
	if err == nil {
		err = between.Err()
	}
	if err != nil {
		return 0, fmt.Errorf("fork the supervisor: %w", err)
	}
	return int(pid.Load()), nil
}

// become writes the supervisor's steps: it lets go of everything that is the
// program's, and executes this program again.
func become(seq *script.Sequence, shared int) error {
	const what = "start the supervisor"
	// Out of the way first: the program may have closed any of the low numbers.
	const away = sharedFD + 1
	page, null := script.NewValue(), script.NewValue()
	seq.Do(what, unix.SYS_SETSID)
	seq.Do(what, unix.SYS_CHDIR, script.String("/"))
	seq.Do(what, unix.SYS_FCNTL, shared, unix.F_DUPFD, away).Into(page)
	// Nowhere to print to: the program's output is not ours to write, nor to keep
	// open.
	seq.Do(what, unix.SYS_MEMFD_CREATE, script.String("capsicum output"), 0).Into(null)
	seq.Do(what, unix.SYS_FCNTL, null, unix.F_DUPFD, away).Into(null)
	for num := range sharedFD {
		seq.Do(what, unix.SYS_DUP3, null, num, 0)
	}
	seq.Do(what, unix.SYS_DUP3, page, sharedFD, 0)
	seq.Do(what, unix.SYS_CLOSE_RANGE, sharedFD+1, int(^uint32(0)), 0)
	if err := seq.StayDeaf(); err != nil {
		return err
	}
	// Where the program is set-user-ID and has dropped that, it is not to come back.
	seq.Do(what, unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	seq.Do(what, unix.SYS_EXECVE, script.String("/proc/self/exe"),
		script.Strings([]string{stageName, strconv.Itoa(os.Getpid())}), script.Strings(environment()))
	return nil
}

// environment is what the supervisor's Go runtime, and its dynamic loader if the
// program has one, need.
func environment() []string {
	env := []string{"GOMAXPROCS=16"}
	if path, ok := os.LookupEnv("LD_LIBRARY_PATH"); ok {
		env = append(env, "LD_LIBRARY_PATH="+path)
	}
	return env
}
