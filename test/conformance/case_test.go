//go:build linux || freebsd

package conformance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/rights"
)

// Case is one thing that Capsicum says, with what must come out of it.
type Case struct {
	Name string // chapter/name
	In   phase
	Want Want
	// Static is what must come out where there is no supervisor; nil is Want.
	Static *Want
	Root   bool // only root can try it
	Quiet  bool // no thread beside it may make descriptors

	// Make opens what the case needs, before the process has made a first call of
	// the package, and returns the call that is tried.
	Make func(t *T) func() error
}

// statically is a case that comes out in another way where there is no supervisor.
func statically(c Case, w Want) Case {
	c.Static = &w
	return c
}

// phase is the kind of process that a case runs in.
type phase int

const (
	plain   phase = iota // shared with others, not in capability mode
	entered              // shared with others, in capability mode before the call
	alone                // its own
	bare                 // shared with others, which make no call of the package
)

// Want is an outcome.
type Want struct {
	ok   bool
	errs []error
}

// The outcomes that cases ask for.
var (
	success    = Want{ok: true}
	notCapable = Want{errs: []error{capsicum.ErrNotCapable}}
	capMode    = Want{errs: []error{capsicum.ErrCapabilityMode}}
	// refused never is success; which of the two the static form says depends on
	// what its filters see first.
	refused = Want{errs: []error{capsicum.ErrNotCapable, capsicum.ErrCapabilityMode}}
	// either is what the static form may refuse or do exactly.
	either = Want{ok: true, errs: refused.errs}
)

// is is the outcome of a call that the kernel itself answers with an errno.
func is(errno ...syscall.Errno) Want {
	var w Want
	for _, e := range errno {
		w.errs = append(w.errs, e)
	}
	return w
}

// or is w, or success with any answer that is no refusal.
func (w Want) or(other Want) Want {
	return Want{ok: w.ok || other.ok, errs: slices.Concat(w.errs, other.errs)}
}

func (w Want) met(err error) bool {
	if err == nil {
		return w.ok
	}
	return slices.ContainsFunc(w.errs, func(e error) bool { return errors.Is(err, e) })
}

func (w Want) String() string {
	var list []string
	if w.ok {
		list = append(list, "success")
	}
	for _, e := range w.errs {
		list = append(list, describe(e))
	}
	return strings.Join(list, " or ")
}

// describe names an error, the errnos of Capsicum by their name.
func describe(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "success"
	case errors.Is(err, capsicum.ErrNotCapable):
		return "ENOTCAPABLE"
	case errors.Is(err, capsicum.ErrCapabilityMode):
		return "ECAPMODE"
	case errors.As(err, &errno) && unix.ErrnoName(errno) != "":
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// want is what must come out of c in a process of the given form.
func (c Case) want(static bool) Want {
	if static && c.Static != nil {
		return *c.Static
	}
	return c.Want
}

func (c Case) chapter() string { return c.Name[:strings.IndexByte(c.Name, '/')] }

// T is what a case has to work with.
type T struct {
	Dir string // empty but for what this case makes
}

// abort is the panic that ends a case with its outcome.
type abort struct{ err error }

// stop ends the case with err as its outcome when err is not nil: a step on the
// way to the call in question that may itself be refused.
func stop(what string, err error) {
	if err != nil {
		panic(abort{fmt.Errorf("%s: %w", what, err)})
	}
}

// need returns v, or stops the case.
func need[V any](v V, err error) V {
	stop("prepare", err)
	return v
}

// same is the outcome of a case that compares.
func same[V comparable](what string, got, want V) error {
	if got != want {
		return fmt.Errorf("%s is %v, want %v", what, got, want)
	}
	return nil
}

// all is the outcome of several calls: the first that fails.
func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *T) path(name string) string { return filepath.Join(t.Dir, name) }

// file returns a descriptor of a new file with 4096 bytes, open to be read and
// written.
func (t *T) file() int {
	f := need(os.CreateTemp(t.Dir, "file"))
	need(f.Write(make([]byte, 4096)))
	need(f.Seek(0, 0))
	return keep(f)
}

// keep returns the descriptor of f, which stays open until the process ends. A
// number that a case has limited is never closed behind its back.
func keep(f *os.File) int {
	fd := need(unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3))
	stop("close", f.Close())
	return fd
}

// open opens a path, before anything is limited.
func (t *T) open(path string, flags int) int {
	return need(unix.Open(path, flags|unix.O_CLOEXEC, 0o600))
}

// pipe returns both ends of a new pipe, with some bytes in it.
func (t *T) pipe() (r, w int) {
	p := make([]int, 2)
	stop("pipe", unix.Pipe2(p, unix.O_CLOEXEC))
	need(unix.Write(p[1], []byte("0123456789")))
	return p[0], p[1]
}

// pair returns two connected sockets, each with a message to be received.
func (t *T) pair(typ int) (a, b int) {
	p := need(unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0))
	for _, fd := range p {
		need(unix.Write(fd, []byte("0123456789")))
	}
	return p[0], p[1]
}

// folder returns a descriptor of a new directory and its path. In it are:
//
//	file sub/file sub/deep/     and outside, beside it: NAME.out
//	near -> sub/file            leads to what is beneath
//	around -> sub/../file       so does this
//	there -> sub                a directory
//	abs -> /.../file            absolute, though beneath
//	out -> ../NAME.out          leaves
//	back -> ../NAME/file        leaves and comes back
func (t *T) folder() (fd int, path string) {
	path = need(os.MkdirTemp(t.Dir, "dir"))
	name := filepath.Base(path)
	stop("mkdir", os.MkdirAll(filepath.Join(path, "sub", "deep"), 0o700))
	for _, f := range []string{"file", "sub/file", "../" + name + ".out"} {
		stop("write", os.WriteFile(filepath.Join(path, f), []byte("0123456789"), 0o600))
	}
	for link, target := range map[string]string{
		"near": "sub/file", "around": "sub/../file", "there": "sub",
		"abs": filepath.Join(path, "file"), "out": "../" + name + ".out", "back": "../" + name + "/file",
	} {
		stop("symlink", os.Symlink(target, filepath.Join(path, link)))
	}
	return t.open(path, unix.O_RDONLY|unix.O_DIRECTORY), path
}

// limit limits fd; a failure ends the case.
func limit(fd int, r ...rights.Right) { stop("limit", lib.LimitFD(fd, r...)) }

// limitSet is limit with a set.
func limitSet(fd int, s rights.Set) { stop("limit", lib.LimitSetFD(fd, s)) }

// enter enters capability mode; a failure ends the case.
func enter() { stop("enter", lib.Enter()) }

// allBut returns every right but those of r.
func allBut(r ...rights.Right) rights.Set {
	s := everyRight()
	return *s.Clear(r...)
}

// hasRights returns an error unless fd has exactly the rights of s.
func hasRights(fd int, s rights.Set) error {
	got, err := lib.RightsFD(fd)
	if err != nil {
		return err
	}
	if got != s {
		return fmt.Errorf("rights of the descriptor are {%v}, want {%v}", got, s)
	}
	return nil
}

// failing returns nil when err is a refusal, and an error otherwise: for cases
// that check several calls.
func failing(what string, err error, w Want) error {
	if !w.met(err) {
		return fmt.Errorf("%s: got %s, want %s", what, describe(err), w)
	}
	return nil
}

func read(fd int) error {
	_, err := unix.Read(fd, make([]byte, 4))
	return err
}

func write(fd int) error {
	_, err := unix.Write(fd, []byte("abcd"))
	return err
}

func seek(fd int) error {
	_, err := unix.Seek(fd, 0, 0)
	return err
}

func fstat(fd int) error {
	var st unix.Stat_t
	return unix.Fstat(fd, &st)
}

func ptr[V any](v V) *V { return &v }

// expect returns c with other outcomes.
func (c Case) expect(want, static Want) Case {
	c.Want, c.Static = want, &static
	return c
}
