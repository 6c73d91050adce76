package procdesc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Flags are the flags of pdfork(2).
type Flags uint

// Daemon is PD_DAEMON: the last close does not kill.
const Daemon Flags = 1

// Start starts a command, and returns its process descriptor, which is closed on exec.
//
// Of cmd are used: Path, Args, Env, Dir, Stdin, Stdout, Stderr, ExtraFiles, and of
// SysProcAttr Setsid, Setpgid, Pgid and Credential. A command with anything else set
// is refused. Streams are nil, for nothing, or an *os.File: nobody copies, so no pipe of
// StdinPipe or its like either; use [os.Pipe]. cmd itself is not started: its methods
// that go with Start are not for it.
func Start(cmd *exec.Cmd, flags ...Flags) (*Process, error) {
	return start(cmd, nil, flags)
}

// StartFile is Start of a program that is held open, in place of cmd.Path: which goes
// in capability mode too, for programs that need no loader and, on Linux, with a
// supervisor.
func StartFile(program *os.File, cmd *exec.Cmd, flags ...Flags) (*Process, error) {
	if program == nil {
		return nil, fmt.Errorf("start process: no program: %w", os.ErrInvalid)
	}
	return start(cmd, program, flags)
}

// Self opens the running program, for [StartFile]: to become a compartment of itself, a
// program opens itself before it enters capability mode, and is started again with
// other arguments afterwards.
func Self() (*os.File, error) {
	path, err := os.Executable()
	if err == nil {
		var f *os.File
		if f, err = os.Open(self(path)); err == nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("open this program: %w", err)
}

func start(cmd *exec.Cmd, program *os.File, flags []Flags) (*Process, error) {
	var all Flags
	for _, f := range flags {
		all |= f
	}
	err := all.check()
	if err == nil && program == nil {
		err = cmd.Err
	}
	if err == nil && (cmd.Cancel != nil || cmd.Process != nil) {
		err = fmt.Errorf("a command with a context, or started already: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	f, err := fork(cmd, program, all)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return &Process{f}, nil
}

func (f Flags) check() error {
	if f&^Daemon != 0 {
		return fmt.Errorf("flags %#x: %w", uint(f), os.ErrInvalid)
	}
	return nil
}
