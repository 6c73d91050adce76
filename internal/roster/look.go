package roster

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Form is how a process is confined.
type Form string

// The forms. An unknown one is confined by filters that somebody made: the static form
// of a program that can't be looked at, or of one that was executed since, or another
// sandbox.
const (
	Wrapped    Form = "run"        // by capsicum run
	Supervised Form = "supervised" // by itself, with a supervisor, which may be that of capsicum run
	Static     Form = "static"     // by itself, with filters alone
	Unknown    Form = "unknown"
	Free       Form = "none" // not at all
)

// Process is a process, confined or not.
type Process struct {
	PID     int
	UID     int
	Name    string
	Argv    []string
	Form    Form
	Filters int
	By      int    // the supervisor; 0 where that can't be told
	Front   int    // of capsicum run; 0 if there is none
	Engine  string // of capsicum run; "" if there is none

	// What the supervisor tells, if it does.
	Told    bool
	Mode    bool
	Limited []File
	Cut     bool // there may be more
}

// File is a limited descriptor with a name for a person.
type File struct {
	Descriptor
	Name string
}

// All returns every process that is known to be confined, by number.
func All() ([]Process, error) { return look(proc("/proc"), nil) }

// Of returns the processes that were named, confined or not.
func Of(pids []int) ([]Process, error) { return look(proc("/proc"), pids) }

// view is one look at the processes.
type view struct {
	root   proc
	list   map[int]*seen
	own    string // name of this program
	told   map[int]told
	unborn map[int][]Unborn
	leads  map[int]int // who was the first of a supervisor's, and that
}

// told is what supervisor by says of a process.
type told struct {
	Served
	by  int
	cut bool
}

func look(root proc, pids []int) ([]Process, error) {
	list, err := root.all()
	if err != nil {
		return nil, err
	}
	v := &view{root: root, list: list, told: map[int]told{}, unborn: map[int][]Unborn{}, leads: map[int]int{}}
	if self := list[os.Getpid()]; self != nil {
		v.own = self.name
	}
	answers, err := ask(v.wanted())
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("ask supervisors: %w", err)
	}
	v.believe(answers)
	var found []Process
	if pids == nil {
		for _, p := range list {
			if d := v.describe(p); !p.zombie && d.Form != Free && d.Form != Unknown {
				found = append(found, d)
			}
		}
		slices.SortFunc(found, func(a, b Process) int { return cmp.Compare(a.PID, b.PID) })
		return found, nil
	}
	for _, pid := range pids {
		p := list[pid]
		if p == nil || p.zombie {
			return nil, fmt.Errorf("process %d: %w", pid, unix.ESRCH)
		}
		found = append(found, v.describe(p))
	}
	return found, nil
}

// wanted returns who is a supervisor, as it looks, and notes whom they were started
// for. In a run there is none: who is called so there has called himself so.
func (v *view) wanted() map[int]bool {
	wanted := map[int]bool{}
	for pid, p := range v.list {
		named := len(p.argv) == 2 && p.argv[0] == SupervisorName
		if !named && !p.isInit() {
			continue
		}
		if init, _ := v.wrapper(p); init != nil {
			continue
		}
		wanted[pid] = true
		if named {
			v.follow(p)
		}
	}
	return wanted
}

// believe notes what was answered.
func (v *view) believe(answers map[int]Answer) {
	for by, a := range answers {
		supervisor := v.list[by]
		v.unborn[by] = a.Unborn
		for _, s := range a.Served {
			p, ok := v.root.inNamespace(v.list, supervisor, s.PID)
			if ok && trusted(supervisor, p) {
				v.told[p.pid] = told{s, by, a.Cut}
			}
		}
	}
}

// trusted reports whether a supervisor is believed that it serves p. Anybody can call
// himself a supervisor, and say what he likes of his own processes; of others' only
// root is believed, who may serve a daemon that has changed its user.
func trusted(supervisor, p *seen) bool {
	return p.filters > 0 && (supervisor.uid == 0 || supervisor.uid == p.uid)
}

// follow notes whom a supervisor was started for.
func (v *view) follow(supervisor *seen) {
	n, err := strconv.Atoi(supervisor.argv[1])
	if err != nil {
		return
	}
	if p, ok := v.root.inNamespace(v.list, supervisor, n); ok && trusted(supervisor, p) {
		v.leads[p.pid] = supervisor.pid
	}
}

// describe says what is known of a process.
func (v *view) describe(p *seen) Process {
	d := Process{PID: p.pid, UID: p.uid, Name: p.name, Argv: p.argv, Filters: p.filters, Form: Free}
	if p.filters == 0 {
		return d
	}
	init, front := v.wrapper(p)
	if init != nil {
		d.Form, d.Front, d.Engine = Wrapped, front, "landlock"
		if outer := v.list[front]; outer != nil && len(init.inner) > len(outer.inner) {
			d.Engine = "namespaces"
		}
	}
	if t, ok := v.told[p.pid]; ok {
		d.Cut = t.cut
		v.tell(&d, t.by, t.Mode, t.Limited)
		return d
	}
	label := v.root.label(p.pid)
	by := v.supervisorOf(p)
	if init != nil {
		by = init.pid
	}
	for _, u := range v.unborn[by] {
		if u.Label == label {
			v.tell(&d, by, u.Free >= 0 && p.filters > u.Free, u.Limited)
		}
	}
	if d.Form != Free {
		return d
	}
	if by != 0 || label != 0 {
		d.Form, d.By = Supervised, by
		return d
	}
	d.Form = Unknown
	if has, err := v.root.hasLibrary(p.pid); err == nil && has {
		d.Form = Static
	}
	return d
}

// tell adds what a supervisor says, and of what is limited only what is open. That of
// a run tells of those who have not confined themselves, too.
func (v *view) tell(d *Process, by int, mode bool, limited []Descriptor) {
	d.Told, d.Mode = true, mode
	for _, l := range limited {
		if name, open := v.root.file(d.PID, l.FD); open {
			d.Limited = append(d.Limited, File{l, name})
		}
	}
	if d.Form != Wrapped || d.Mode || len(d.Limited) > 0 {
		d.Form, d.By = Supervised, by
	}
}

// ancestors calls f for those of p that it has, until f is true.
func (v *view) ancestors(p *seen, f func(*seen) bool) {
	// The numbers may have been given to others during the look, in a circle too.
	for range len(v.list) {
		if p = v.list[p.parent]; p == nil || f(p) {
			return
		}
	}
}

// wrapper returns the init of the sandbox that p is in, and the number of the
// process that was started as capsicum run. Init is a copy of that one, until it
// becomes the supervisor. It is the outermost who looks like it: what a sandbox has in
// it can look as it likes.
func (v *view) wrapper(p *seen) (init *seen, front int) {
	v.ancestors(p, func(q *seen) bool {
		parent := v.list[q.parent]
		asked := len(q.argv) == 2 && q.argv[0] == wrapSupervisor
		copied := parent != nil && v.isProgram(parent) && q.name == parent.name && slices.Equal(q.argv, parent.argv)
		if asked || copied && q.filters < p.filters {
			init, front = q, q.parent
		}
		return false
	})
	return init, front
}

// wrapSupervisor is argv[0] of a sandbox's supervisor.
const wrapSupervisor = "capsicum: supervisor"

// isInit reports whether a process looks like the supervisor of a sandbox: where that has
// a pid namespace of its own, like its first process, which nothing in it can be.
func (p *seen) isInit() bool {
	return len(p.argv) == 2 && p.argv[0] == wrapSupervisor && (len(p.inner) == 1 || p.inner[len(p.inner)-1] == 1)
}

// isProgram reports whether a process runs capsicum, by name: what it runs can't be
// looked at by its own user.
func (v *view) isProgram(p *seen) bool {
	const name = "capsicum"
	return p.name == name || p.name == v.own || len(p.argv) > 0 && filepath.Base(p.argv[0]) == name
}

// supervisorOf returns who supervises a process of which no supervisor has told: one
// that does not answer, or that of the ancestors of a process which has not asked for
// anything yet.
func (v *view) supervisorOf(p *seen) int {
	by := v.leads[p.pid]
	if by != 0 {
		return by
	}
	v.ancestors(p, func(q *seen) bool {
		if by = v.told[q.pid].by; by == 0 {
			by = v.leads[q.pid]
		}
		return by != 0 || q.filters == 0
	})
	return by
}
