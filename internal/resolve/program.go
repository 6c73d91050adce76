package resolve

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/elfdeps"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// readOne are the rights to read one file, and nothing that would tell about
// others.
var readOne = []rights.Right{rights.Lookup, rights.Read, rights.Seek, rights.Fstat, rights.Fstatfs,
	rights.Fpathconf, rights.MmapR, rights.Fcntl, rights.Event, rights.Ioctl}

// closureRights are the rights on the files that a program needs to start. A
// library has those of an executable: a loader that is one runs it as well.
func closureRights(use elfdeps.Use) rights.Set {
	set := rights.Of(readOne...)
	if use != elfdeps.Data {
		set.Set(rights.MmapX, rights.Fexecve)
	}
	return set
}

// defaultPath is where execvp(3) looks when there is no PATH.
const defaultPath = "/bin:/usr/bin"

// program finds the program and grants what it needs to start.
func (b *builder) program() error {
	if len(b.policy.Argv) == 0 || b.policy.Argv[0] == "" {
		return &Error{Flag: "program", Err: unix.ENOENT, Hint: "name a program after --", Exit: ExitNotFound}
	}
	argv := b.policy.Argv
	name, err := b.search(argv[0])
	if err != nil {
		return err
	}
	opener := &opener{view: view{w: b.w, root: b.root, fallback: true}, seen: make(map[string]*place)}
	result, err := elfdeps.Closure(name, b.loaderEnv(), opener)
	if errors.Is(err, elfdeps.ErrFormat) && opener.isText(name, err) {
		// A script without "#!" is for the shell, as execvp(3) has it.
		argv = append([]string{shell, name}, argv[1:]...)
		name = shell
		var more elfdeps.Result
		more, err = elfdeps.Closure(shell, b.loaderEnv(), opener)
		result.Files = append(result.Files, more.Files...)
		result.Warnings = append(result.Warnings, more.Warnings...)
		result.Library = more.Library
	}
	if err != nil {
		return b.notExecutable(argv[0], err)
	}
	for _, message := range result.Warnings {
		b.warn(message)
	}
	for _, f := range result.Files {
		if f.Setid {
			b.warn(f.Path + " has a set-user-ID or set-group-ID bit, which has no effect in a sandbox")
		}
		if err := b.needed(opener.seen[f.Path], closureRights(f.Use)); err != nil {
			return err
		}
	}
	b.out.Program = plan.Program{Path: spelledPath(name, opener.seen[name]), Argv: argv}
	if b.policy.Library {
		b.out.Program.Library = "--capsicum"
	} else if p := opener.seen[result.Library]; p != nil {
		b.out.Program.Library = p.path
	}
	return nil
}

const shell = "/bin/sh"

// loaderEnv is what loaders will see of the program's environment.
func (b *builder) loaderEnv() elfdeps.Env {
	cwd := b.host.Cwd
	if b.policy.Cwd != "" {
		cwd = b.absolute(b.policy.Cwd)
	}
	return elfdeps.EnvOf(b.policy.Env, cwd)
}

// spelledPath is the program's name as it was written, so that programs that
// look at their own name find it; the true one where only a walk can tell what
// ".." means.
func spelledPath(name string, p *place) string {
	if strings.Contains(name+"/", "/../") {
		return p.path
	}
	return path.Clean(name)
}

// needed grants one file of the closure: a file, never a directory, whatever a
// program names as its interpreter.
func (b *builder) needed(p *place, set rights.Set) error {
	if p == nil || p.obj == nil || p.obj.mode&unix.S_IFMT != unix.S_IFREG {
		return &Error{Flag: programOrigin, Err: unix.EACCES, Hint: "it needs something that is not a file", Exit: ExitNotExecutable}
	}
	if err := b.addLinks(p.links, programOrigin); err != nil {
		return err
	}
	return b.add(p.path, p.obj, set, programOrigin)
}

// notExecutable turns what elfdeps says about a program into our error.
func (b *builder) notExecutable(argv0 string, err error) error {
	e := &Error{Flag: argv0, Err: err, Exit: ExitNotExecutable}
	var about *elfdeps.Error
	if errors.As(err, &about) {
		e.Path, e.Err = about.Path, about.Err
	}
	if errors.Is(err, elfdeps.ErrForeign) {
		e.Hint = "only programs for this machine's own architecture and word size can be confined"
	}
	if isMissing(err) {
		e.Exit = ExitNotFound
	}
	return e
}

// search finds a program as execvp(3) does, in the sandbox first and then, where
// the sandbox has no such directory, on the host.
func (b *builder) search(argv0 string) (string, error) {
	candidates := []string{argv0}
	if !strings.Contains(argv0, "/") {
		candidates = nil
		for _, dir := range strings.Split(lookupEnv(b.policy.Env, "PATH", defaultPath), ":") {
			candidates = append(candidates, path.Join(dir, argv0))
		}
	}
	v := view{w: b.w, root: b.root, fallback: true}
	failure := &Error{Flag: argv0, Err: unix.ENOENT, Exit: ExitNotFound}
	for _, name := range candidates {
		name = b.absolute(name)
		p, err := v.find(name)
		if err == nil {
			err = executable(p)
			p.close()
		}
		switch {
		case err == nil:
			return name, nil
		case isMissing(err):
		case failure.Exit == ExitNotFound:
			*failure = *failed(argv0, err, "")
			failure.Path, failure.Exit = name, ExitNotExecutable
		}
	}
	if failure.Exit == ExitNotFound && !strings.Contains(argv0, "/") {
		failure.Hint = "no directory of the sandbox's PATH has it"
	}
	return "", failure
}

// executable reports why the kernel would not execute what a name leads to.
func executable(p *place) error {
	switch {
	case p.obj == nil || p.obj.isDir():
		return unix.EISDIR
	case p.obj.mode&unix.S_IFMT != unix.S_IFREG:
		return unix.EACCES
	}
	// Asked with the caller's effective identity. A noexec mount is noticed too.
	return unix.Faccessat(p.obj.in.fd, path.Base(p.obj.path), unix.X_OK, unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW)
}

func lookupEnv(environ []string, key, otherwise string) string {
	for _, kv := range environ {
		if value, ok := strings.CutPrefix(kv, key+"="); ok {
			return value
		}
	}
	return otherwise
}

// opener opens names for elfdeps and remembers where they led, so that what is
// granted is what was read.
type opener struct {
	view
	seen map[string]*place
}

// Open opens a name as the program's loader will find it.
func (o *opener) Open(name string) (*elfdeps.Opened, error) {
	p, err := o.find(name)
	if err != nil {
		return nil, err
	}
	defer p.close()
	opened := &elfdeps.Opened{Close: func() error { return nil }, Mode: unix.S_IFDIR | 0o755, Real: p.path}
	if p.obj == nil {
		return opened, nil
	}
	o.seen[name] = p
	opened.Mode = p.obj.mode
	if p.obj.mode&unix.S_IFMT != unix.S_IFREG {
		return opened, nil
	}
	f, err := p.obj.read()
	switch {
	case isErrno(err, unix.EACCES) || isErrno(err, unix.EPERM):
		return opened, nil
	case err != nil:
		return nil, &walkError{name, err}
	}
	opened.R, opened.Close = f, f.Close
	return opened, nil
}

// read opens a regular file for reading. The name is opened a second time, in
// the directory that is held, and must lead to the same object.
func (o *object) read() (*sys.FD, error) {
	fd, err := openat(o.in.fd, path.Base(o.path), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	f := sys.NewFD(fd)
	var st unix.Stat_t
	if err := sys.Retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		f.Close()
		return nil, err
	}
	if identity(&st) != o.id {
		f.Close()
		return nil, ErrChanged
	}
	return f, nil
}

// isText reports whether the program itself, not an interpreter of it, has the
// look of text, by the rule shells use: no NUL where it begins.
func (o *opener) isText(name string, err error) bool {
	var about *elfdeps.Error
	if !errors.As(err, &about) || about.Path != name {
		return false
	}
	f, err := o.Open(name)
	if err != nil || f.R == nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 256)
	n, err := f.R.ReadAt(head, 0)
	return (err == nil || errors.Is(err, io.EOF)) && bytes.IndexByte(head[:n], 0) < 0
}

// readNames lists an open directory and closes it.
func readNames(fd int) []string {
	f := os.NewFile(uintptr(fd), "directory")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil
	}
	return names
}
