// Package script runs prepared lists of system calls between fork and exec.
//
// A Go process cannot fork: the child has one thread and a runtime that needs
// many. What must happen between fork and exec is therefore written down
// beforehand as data, and executed in the child by a short loop in assembly that
// uses registers only: no stack, no allocation, no runtime. Because it touches no
// stack, several children may run in the parent's memory at the same time, and
// report what failed simply by writing it there.
//
//	var child, first script.Sequence
//	child.Do("become read only", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
//	child.Do("execute", unix.SYS_EXECVE, script.String("/bin/true"), argv, env)
//	first.Clone("fork", unix.CLONE_VM|unix.SIGCHLD, &child, pid)
//	…
//	n, err := script.Start(unix.CLONE_VM|unix.SIGCHLD, &first)
//
// # Limitations
//
// Every sequence must stay reachable, by [runtime.KeepAlive], until the last
// child that runs one has executed a program or ended.
package script

import (
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// step is one line of a sequence. The assembly knows its layout.
type step struct {
	nr      uintptr
	args    [6]uintptr
	deref   uintptr  // bit i: args[i] is where the 32-bit argument lies
	out     *uint32  // where the result goes
	forgive uintptr  // an errno that is no failure
	kind    uintptr  // see below
	jump    *step    // clone: where the child goes on; skip: where to
	report  *failure // where a failure is written
}

const stepSize = unsafe.Sizeof(step{})

// Kinds of steps.
const (
	kindCall  = iota
	kindClone // a call that returns twice
	kindEqual // args[0] points to the 64-bit value args[1], or the step fails with args[2]
	kindSkip  // if the 32-bit word args[0] points to has no bit of args[1], go on at jump
	kindEach  // a call for each bit n of args[5], with n+1 in out
)

// failure is written by the child that fails, just before it exits.
type failure struct {
	step  uintptr
	errno uintptr
}

// ExitStatus is what a child exits with when one of its steps fails.
const ExitStatus = 125

// Value is a 32-bit word that is known only when a sequence runs: a result that
// a later step uses, or that a structure in memory holds.
type Value struct{ word *uint32 }

// NewValue returns a word of its own.
func NewValue() Value { return Value{new(uint32)} }

// ValueAt returns the word at p, part of a structure that a call takes.
func ValueAt(p *uint32) Value { return Value{p} }

// Load returns the word, as the children left it.
func (v Value) Load() uint32 { return atomic.LoadUint32(v.word) }

// Store sets the word, before the children look at it.
func (v Value) Store(n uint32) { atomic.StoreUint32(v.word, n) }

// Pointer is the word's address, for a call that fills it in.
func (v Value) Pointer() Pointer { return Pointer{unsafe.Pointer(v.word), v.word} }

// Pointer is the address of something that stays alive with the sequence.
type Pointer struct {
	p    unsafe.Pointer
	keep any
}

// String returns a C string.
func String(s string) Pointer {
	b := append([]byte(s), 0)
	return Pointer{unsafe.Pointer(&b[0]), b}
}

// Strings returns a list of C strings as execve takes it.
func Strings(list []string) Pointer {
	words := make([]unsafe.Pointer, len(list)+1)
	for i, s := range list {
		words[i] = String(s).p
	}
	return Pointer{unsafe.Pointer(&words[0]), words}
}

// Struct returns the address of a structure. It must not move: p points to the heap.
func Struct[T any](p *T) Pointer { return Pointer{unsafe.Pointer(p), p} }

// Sequence is a list of steps that one process runs. The zero Sequence is empty.
type Sequence struct {
	steps    []step
	what     []string
	keep     []any
	children []*Sequence // of the clone steps, in order
	failure  *failure
}

// Step is a step just added, to say more about it.
type Step struct {
	s *Sequence
	i int
}

// Into stores the call's result.
func (st Step) Into(v Value) Step {
	st.s.steps[st.i].out = v.word
	return st
}

// Forgive lets the call fail with e.
func (st Step) Forgive(e unix.Errno) Step {
	st.s.steps[st.i].forgive = uintptr(e)
	return st
}

// Do adds a system call. An argument is an integer, a [Pointer], a [Value], or
// nil for a null pointer. what is said when it fails.
func (s *Sequence) Do(what string, nr uintptr, args ...any) Step {
	st := step{nr: nr}
	for i, a := range args {
		st.args[i] = s.arg(&st, i, a)
	}
	return s.add(what, st)
}

func (s *Sequence) arg(st *step, i int, a any) uintptr {
	switch a := a.(type) {
	case nil:
		return 0
	case int:
		return uintptr(a)
	case uintptr:
		return a
	case Pointer:
		s.keep = append(s.keep, a.keep)
		return uintptr(a.p)
	case Value:
		s.keep = append(s.keep, a.word)
		st.deref |= 1 << i
		return uintptr(unsafe.Pointer(a.word))
	}
	panic(fmt.Sprintf("script: argument of type %T", a))
}

// Each adds a system call for each member of a set, which v is meanwhile: bit n
// of mask stands for n+1, as in a signal mask. The call has up to five arguments,
// and ends the set where it fails with a forgiven errno.
func (s *Sequence) Each(what string, mask uint64, v Value, nr uintptr, args ...any) Step {
	st := s.Do(what, nr, args...).Into(v)
	s.steps[st.i].kind = kindEach
	s.steps[st.i].args[5] = uintptr(mask)
	return st
}

// Equal adds a check that the word at p is want; otherwise the sequence fails
// with e.
func (s *Sequence) Equal(what string, p *uint64, want uint64, e unix.Errno) {
	s.keep = append(s.keep, p)
	s.add(what, step{kind: kindEqual, args: [6]uintptr{uintptr(unsafe.Pointer(p)), uintptr(want), uintptr(e)}})
}

// SkipUnless adds a decision: if v has none of the bits in mask, the next n steps
// are left out.
func (s *Sequence) SkipUnless(v Value, mask uint32, n int) {
	s.keep = append(s.keep, v.word)
	s.add("decide", step{kind: kindSkip, args: [6]uintptr{uintptr(unsafe.Pointer(v.word)), uintptr(mask), uintptr(n)}})
}

// Clone adds a fork: the child runs child, and must share memory (CLONE_VM).
func (s *Sequence) Clone(what string, flags uintptr, child *Sequence, pid Value) {
	s.children = append(s.children, child)
	s.add(what, step{nr: unix.SYS_CLONE, kind: kindClone, args: [6]uintptr{flags}, out: pid.word})
}

// cloneArgs is what clone3 takes.
type cloneArgs struct {
	flags      uint64
	_          [3]uint64 // where ids are stored
	exitSignal uint64
	_          [3]uint64 // stack and thread-local storage: the caller's
}

// CloneClear is Clone of a child whose handled signals are back at their defaults from
// the start, which takes [sys.HasClone3] and saves two calls for each.
func (s *Sequence) CloneClear(what string, flags uint64, signal unix.Signal, child *Sequence, pid Value) {
	s.children = append(s.children, child)
	args := &cloneArgs{flags: flags | unix.CLONE_CLEAR_SIGHAND, exitSignal: uint64(signal)}
	st := s.Do(what, unix.SYS_CLONE3, Struct(args), int(unsafe.Sizeof(*args))).Into(pid)
	s.steps[st.i].kind = kindClone
}

// Grow makes room for n more steps.
func (s *Sequence) Grow(n int) {
	s.steps, s.what, s.keep = slices.Grow(s.steps, n), slices.Grow(s.what, n), slices.Grow(s.keep, n)
}

func (s *Sequence) add(what string, st step) Step {
	s.steps = append(s.steps, st)
	s.what = append(s.what, what)
	return Step{s, len(s.steps) - 1}
}

// Then makes the child that runs s go on with next after its last step, which it
// must not have reached yet: a step before has to wait for whoever calls Then.
// next must not be added to afterwards.
func (s *Sequence) Then(next *Sequence) {
	next.link()
	end := &s.steps[len(s.steps)-1]
	end.jump = &next.steps[0]
	end.kind = kindSkip // its word is 0, and so goes there
}

// link fixes addresses: no step may be added afterwards. Running past the last
// step must be impossible, so one that fails closes each list.
func (s *Sequence) link() {
	s.failure = new(failure)
	s.Equal("end of sequence", new(uint64), 1, unix.ENOEXEC)
	child := 0
	for i := range s.steps {
		st := &s.steps[i]
		st.report = s.failure
		switch st.kind {
		case kindClone:
			s.children[child].link()
			st.jump = &s.children[child].steps[0]
			child++
		case kindSkip:
			st.jump = &s.steps[min(i+1+int(st.args[2]), len(s.steps)-1)]
		}
	}
}

// StepError is a step that failed.
type StepError struct {
	What  string
	Errno unix.Errno
}

func (e *StepError) Error() string { return e.What + ": " + e.Errno.Error() }

// Unwrap makes the errno reachable.
func (e *StepError) Unwrap() error { return e.Errno }

// Err returns what failed, a *[StepError], once the process that ran s has ended.
func (s *Sequence) Err() error {
	if s.failure == nil || s.failure.step == 0 {
		return nil
	}
	i := (s.failure.step - uintptr(unsafe.Pointer(&s.steps[0]))) / stepSize
	return &StepError{s.what[i], unix.Errno(s.failure.errno)}
}

// Start forks a child that runs s, beside this process and in its memory: flags
// must have CLONE_VM. Every signal is blocked in the children;
// [Sequence.RestoreSignals] undoes that.
func Start(flags uintptr, s *Sequence) (int, error) {
	s.link()
	n, errno := spawn(flags, &s.steps[0])
	if errno != 0 {
		return 0, unix.Errno(errno)
	}
	return int(n), nil
}

// RestoreSignals adds what makes the process's signals as they were for the
// parent: handlers, which would run Go code, go back to their defaults; what is
// ignored stays ignored, and blocked what is blocked now.
func (s *Sequence) RestoreSignals() error {
	mask, err := sys.SignalMask()
	if err != nil {
		return err
	}
	return s.setSignals(mask)
}

// RestoreMask is RestoreSignals for the child of [Sequence.CloneClear].
func (s *Sequence) RestoreMask() error {
	mask, err := sys.SignalMask()
	if err != nil {
		return err
	}
	s.setMask(mask)
	return nil
}

// StayDeaf adds what makes a Go program that is executed hear no signal, for
// good, except those that its runtime lives by.
func (s *Sequence) StayDeaf() error { return s.setSignals(sys.DeafMask) }

func (s *Sequence) setSignals(mask uint64) error {
	handled, err := sys.HandledSignals()
	if err != nil {
		return err
	}
	sig := NewValue()
	s.Each("reset signals", handled, sig, unix.SYS_RT_SIGACTION, sig, Struct(new([4]uintptr)), nil, 8) // SIG_DFL
	s.setMask(mask)
	return nil
}

func (s *Sequence) setMask(mask uint64) {
	s.Do("set signal mask", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, Struct(&mask), nil, 8)
}

// spawn is in assembly.
//
//go:noescape
func spawn(flags uintptr, first *step) (n, errno uintptr)
