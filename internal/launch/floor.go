package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/landlock"
	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/supervisor"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// floor is the engine that needs no user namespace: every name is looked up by
// the supervisor, over a floor of Landlock that opens nothing. Only what the
// kernel must open itself, a program being executed, is granted in the floor.
type floor struct{ state string }

// The landlock engine's private directory holds the skeleton of the sandbox's
// root, and its private empty directories.
const skeletonName = "root"

// supervise builds the skeleton and opens what is granted. The program waits
// meanwhile: entering its working directory is its first question.
func (fl *floor) supervise(c *supervisor.Config, _ int) error {
	proc, err := openDir("/proc")
	if err != nil {
		return err
	}
	dir := filepath.Join(fl.state, skeletonName)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make skeleton: %w", err)
	}
	root, err := openDir(dir)
	if err != nil {
		return err
	}
	if err := lookup.BuildSkeleton(root.Int(), c.Plan); err != nil {
		return fmt.Errorf("build skeleton: %w", err)
	}
	c.Proc = proc
	c.Namespace, err = lookup.New(c.Plan, root.Int())
	return err
}

// openDir opens a directory of the host for looking things up in it.
func openDir(name string) (*sys.FD, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return sys.NewFD(fd), nil
}

// allowExecution grants the kernel's own opening of programs, all that the floor
// lets through.
func allowExecution(pl *plan.Plan, rules *landlock.Ruleset) error {
	if rules == nil {
		return refuse("--engine=landlock: this kernel has no Landlock; see capsicum doctor")
	}
	for i := range pl.Entries {
		e := &pl.Entries[i]
		if e.Source == "" || !e.Rights.IsSet(rights.Fexecve) {
			continue
		}
		fd, err := sys.OpenPinned(e.Source, e.ID.Dev, e.ID.Ino)
		if err == nil {
			err = rules.Allow(fd.Int(), e.Kind == plan.Dir, landlock.Execute)
			fd.Close()
		}
		if err != nil {
			return &fs.PathError{Op: "allow execution of", Path: e.Source, Err: err}
		}
	}
	return nil
}

func (fl *floor) destroy() {
	killDescendants(nil)
	removeState(fl.state)
}

// stateDir makes the private directory of one run, where the user's session
// keeps such things.
func stateDir() (string, error) {
	parent := os.Getenv("XDG_RUNTIME_DIR")
	if st, err := os.Stat(parent); parent == "" || err != nil || !st.IsDir() {
		parent = os.TempDir()
	}
	dir, err := os.MkdirTemp(parent, "capsicum-")
	if err != nil {
		return "", fmt.Errorf("make private directory: %w", err)
	}
	return dir, nil
}

// removeState removes what stateDir made. The skeleton's directories are read
// only, and what the program left in its private ones may be.
func removeState(dir string) {
	if dir == "" {
		return
	}
	if err := os.RemoveAll(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		return
	}
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}
