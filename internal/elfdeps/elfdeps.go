// Package elfdeps finds the files that a program needs to be started: the
// interpreter of a script, the loader of an ELF file, and the libraries that
// the loader will look for, where it will look for them. Everything is found by
// reading; nothing is executed, so that asking about a program does not run it.
//
//	result, err := elfdeps.Closure("/usr/bin/git", elfdeps.EnvOf(environ, cwd), opener)
//
// # Limitations
//
// What a program opens once it runs (plug-ins, name service modules, locales)
// is not found. A name that only binfmt_misc makes executable is refused.
package elfdeps

import (
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Use says what is done with a file.
type Use int

// The uses, each including the ones before it.
const (
	Data       Use = iota // read
	Library               // and mapped with execute permission
	Executable            // and executed
)

// File is one file that is needed.
type File struct {
	Path  string // absolute, as its user spells it
	Use   Use
	Why   string // "needed library of /bin/ls"
	Setid bool   // has a set-user-ID or set-group-ID bit, which has no effect in a sandbox
}

// Result is what [Closure] found.
type Result struct {
	Files    []File   // each Path once, the program first
	Library  string   // the first of them that has Capsicum's library in it, or is it
	Warnings []string // what will be missed; the loader says it again when it matters
}

// Opened is an object found under a name.
type Opened struct {
	R     io.ReaderAt // nil when the contents may not be read, and for anything but a regular file
	Close func() error
	Mode  uint32 // st_mode
	Real  string // the name without symlinks
}

// Opener finds names the way the program's loader will.
type Opener interface {
	Open(name string) (*Opened, error)
}

// Env is what the loader takes from the program's surroundings.
type Env struct {
	Path        []string // where env(1) looks for programs
	LibraryPath string   // LD_LIBRARY_PATH
	Preload     string   // LD_PRELOAD
	Cwd         string   // what relative names are relative to
}

// EnvOf picks an Env out of a complete environment.
func EnvOf(environ []string, cwd string) Env {
	env := Env{Cwd: cwd}
	for _, kv := range environ {
		switch key, value, _ := strings.Cut(kv, "="); key {
		case "PATH":
			env.Path = strings.Split(value, ":")
		case "LD_LIBRARY_PATH":
			env.LibraryPath = value
		case "LD_PRELOAD":
			env.Preload = value
		}
	}
	return env
}

// Error is a program or interpreter that can not be executed.
type Error struct {
	Path string
	Err  error
}

// Error names the file and the reason.
func (e *Error) Error() string { return fmt.Sprintf("read %s: %v", e.Path, e.Err) }

// Unwrap returns the reason: [ErrForeign], [ErrFormat], [ErrTooDeep] or what the
// opener said.
func (e *Error) Unwrap() error { return e.Err }

// maxFiles bounds the closure; real ones have a few hundred files at most.
const maxFiles = 4096

// Closure returns what program, an absolute name, needs to start. A needed file
// that is missing is a warning. The error is an [*Error] about the program or an
// interpreter in its chain.
func Closure(program string, env Env, open Opener) (Result, error) {
	return closureOn(machineOf(runtime.GOARCH), program, env, open)
}

func closureOn(m *machine, program string, env Env, open Opener) (Result, error) {
	c := &closure{env: env, open: open, m: m, index: make(map[string]int)}
	err := c.program(program, "program", 0)
	if c.exhausted != nil {
		err = c.exhausted
	}
	return c.result, err
}

type closure struct {
	env    Env
	open   Opener
	m      *machine
	result Result
	index  map[string]int // Path → index in result.Files

	exhausted error // nothing can be opened, so that what is there looks missing
}

// find opens a name as the program's loader will.
func (c *closure) find(name string) (*Opened, error) {
	f, err := c.open.Open(name)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) {
		c.exhausted = &Error{name, err}
	}
	return f, err
}

func (c *closure) warn(format string, args ...any) {
	c.result.Warnings = append(c.result.Warnings, fmt.Sprintf(format, args...))
}

// add notes that a file is needed.
func (c *closure) add(name string, use Use, why string, mode uint32) {
	if i, ok := c.index[name]; ok {
		c.result.Files[i].Use = max(c.result.Files[i].Use, use)
		return
	}
	c.index[name] = len(c.result.Files)
	setid := mode&unix.S_ISUID != 0 || mode&unix.S_ISGID != 0 && mode&unix.S_IXGRP != 0
	c.result.Files = append(c.result.Files, File{Path: name, Use: use, Why: why, Setid: setid && use == Executable})
}

// library notes that a file has Capsicum's library.
func (c *closure) library(name string) {
	if c.result.Library == "" {
		c.result.Library = name
	}
}

// absolute makes a name absolute and clean. The kernel reads ".." after a
// symlink otherwise than Clean does; the opener takes care of that, so only
// names without one are cleaned.
func (c *closure) absolute(name string) string {
	if !strings.HasPrefix(name, "/") {
		name = c.env.Cwd + "/" + name
	}
	if strings.Contains(name+"/", "/../") {
		return name
	}
	return path.Clean(name)
}

// program adds what can be executed: the program, then each interpreter.
func (c *closure) program(name, why string, depth int) error {
	f, err := c.find(name)
	if err != nil {
		return &Error{name, err}
	}
	defer f.Close()
	// A directory here would be granted with all beneath it.
	if f.Mode&unix.S_IFMT != unix.S_IFREG {
		return &Error{name, unix.EACCES}
	}
	c.add(name, Executable, why, f.Mode)
	if f.R == nil {
		c.warn("%s can not be read, so what it needs is unknown: grant its libraries with --rox", name)
		return nil
	}
	head := make([]byte, headSize)
	n, err := f.R.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return &Error{name, err}
	}
	if isELF(head[:n]) {
		return c.elf(name, f)
	}
	interp, arg, ok := shebang(head[:n])
	switch {
	case !ok:
		return &Error{name, ErrFormat}
	case depth >= maxScripts:
		return &Error{name, ErrTooDeep}
	}
	if err := c.interpreter(interp, "#! of "+name, depth+1); err != nil {
		return err
	}
	return c.env1(interp, arg, name, depth+1)
}

// interpreter adds what a #! line names. A missing one is for execve to report.
func (c *closure) interpreter(name, why string, depth int) error {
	name = c.absolute(name)
	err := c.program(name, why, depth)
	if isMissing(err, name) {
		c.warn("%s, the %s, does not exist", name, why)
		return nil
	}
	return err
}

// env1 adds the program that env(1) will start when a #! line asks it to.
func (c *closure) env1(interp, arg, script string, depth int) error {
	prog, ok := envProgram(interp, arg)
	if !ok {
		return nil
	}
	why := "#! of " + script
	if strings.Contains(prog, "/") {
		return c.interpreter(prog, why, depth)
	}
	for _, dir := range c.env.Path {
		name := c.absolute(dir + "/" + prog)
		if dir == "" {
			name = c.absolute(prog)
		}
		if c.executable(name) {
			return c.program(name, why, depth)
		}
	}
	c.warn("%s, asked for by the %s, is not in PATH", prog, why)
	return nil
}

func (c *closure) executable(name string) bool {
	f, err := c.find(name)
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Mode&unix.S_IFMT == unix.S_IFREG && f.Mode&0o111 != 0
}

// isMissing tells a name that leads nowhere from what went wrong further down
// the chain.
func isMissing(err error, name string) bool {
	var e *Error
	return errors.As(err, &e) && e.Path == name && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR))
}
