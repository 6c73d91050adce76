//go:build linux && amd64

package escape

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// attack is one row: what is granted, what tries, and what must come of it.
type attack struct {
	row    int // of the threats table; 0 for attacks that are not in it
	name   string
	grants []string
	victim []string // arguments of the victim, or a whole command if it begins with "/"

	want     string            // errnos an attempt may fail with; any if empty
	wants    map[string]string // the same for attempts by name (a glob)
	open     map[string]string // attempts that succeed, "engine:name": why, as in docs/threat-model.md
	unproven map[string]string // attempts that fail unconfined, too, by name: why. "user:" or "root:" may precede

	only     string   // "root" or "user"
	engine   string   // the only engine it is made under
	alone    bool     // not beside other attacks
	control  []string // what the unconfined victim is run under
	inGroup  bool     // in the outside's process group
	tty      bool     // standard input and error are a terminal of its own
	cwd      string
	restarts bool // it needs fork and close to be restarted whatever handlers say
	quiet    bool // not even "+" lines are expected: the start is refused

	prepare func(*stage)
	files   func(*stage) []*os.File // descriptors 3 and up
	resolve func(*stage, string) bool
}

// attempt is one line of a victim.
type attempt struct {
	kind byte // 0, '+', '-', '=' or '~'; see victim.h
	name string
	errs []string // "OK" for success
}

// succeeded reports whether any try of it did.
func (a *attempt) succeeded() bool { return slices.Contains(a.errs, "OK") }

// outcome is what a victim printed.
type outcome struct {
	attempts []*attempt
	byName   map[string]*attempt
	notes    []string
	done     bool
	stderr   string
	status   int
}

// parse reads a victim's output. resolve decides the lines that leave it to us.
func parse(out string, resolve func(string) bool) *outcome {
	o := &outcome{byName: map[string]*attempt{}}
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\r\n")
		if line == "done" {
			o.done = true
			continue
		}
		if strings.HasPrefix(line, "=") || line == "" {
			o.notes = append(o.notes, line)
			continue
		}
		i := strings.LastIndex(line, ": ")
		if i < 0 {
			o.notes = append(o.notes, "? "+line)
			continue
		}
		name, result := line[:i], line[i+2:]
		a := attempt{name: name}
		if strings.IndexByte("+-~", name[0]) >= 0 {
			a.kind, a.name = name[0], name[1:]
		}
		if a.kind == '~' {
			a.kind = 0
			if resolve(a.name) {
				result = "OK"
			} else if result == "OK" {
				result = "nothing"
			}
		}
		known := o.byName[a.name]
		if known == nil {
			known = &a
			o.attempts = append(o.attempts, known)
			o.byName[a.name] = known
		}
		known.errs = append(known.errs, result)
	}
	return o
}

// as makes the attack as one user: unconfined once, then under each engine.
func (a *attack) as(t *testing.T, uid int) {
	st := newStage(t, built, uid)
	control := a.run(t, st, "")
	for _, f := range a.unprovenBy(control, uid) {
		t.Errorf("row %d %s as %s: %s", a.row, a.name, userName(uid), f)
	}
	for _, engine := range engines {
		if a.engine != "" && a.engine != engine {
			continue
		}
		st := newStage(t, built, uid)
		confined := a.run(t, st, engine)
		holes := a.holes(confined, control, uid)
		documented, stale := a.documented(confined, engine)
		holes = slices.DeleteFunc(holes, func(h string) bool { return slices.Contains(documented, h) })
		for _, s := range stale {
			t.Errorf("row %d %s, %s, %s: %s is refused: take it off the list of what is not", a.row, a.name, engine, userName(uid), s)
		}
		verdicts.add(verdict{a.row, a.name, engine, userName(uid), len(confined.attempts), holes, a.caveats(control), len(documented)})
		for _, h := range holes {
			t.Errorf("row %d %s, %s, %s: %s", a.row, a.name, engine, userName(uid), h)
		}
		if len(holes) > 0 && confined.stderr != "" {
			t.Logf("row %d %s, %s, %s: stderr: %s", a.row, a.name, engine, userName(uid), confined.stderr)
		}
		for _, n := range confined.notes {
			t.Logf("%s, %s: %s", engine, userName(uid), n)
		}
	}
}

// run runs the victim on a stage, unconfined if engine is "".
func (a *attack) run(t *testing.T, st *stage, engine string) *outcome {
	t.Helper()
	if a.prepare != nil {
		a.prepare(st)
		st.own()
	}
	limit := 3**duration + 5*time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	argv := a.command(st, engine)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	seconds := duration.Seconds()
	if engine == "" {
		seconds = min(seconds, 0.2)
	}
	cmd.Env = []string{"PATH=/usr/bin:/bin", fmt.Sprintf("SECONDS=%g", seconds)}
	cmd.Dir = st.in("s")
	if a.cwd != "" {
		cmd.Dir = st.expand(a.cwd)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(st.uid), Setpgid: true}
	if a.inGroup {
		cmd.SysProcAttr.Pgid = st.out.PID
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // and what it has started
	cmd.WaitDelay = 2 * time.Second
	if a.files != nil {
		cmd.ExtraFiles = a.files(st)
		defer closeAll(cmd.ExtraFiles)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output := capture(st, cmd)
	if a.tty {
		term := openTerminal(t, st.uid)
		defer term.close()
		cmd.Stdin, cmd.Stderr = term.slave, term.slave
		cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = false, true, true
	}
	err := cmd.Run()
	if err := st.out.settle(st); err != nil {
		t.Errorf("row %d %s as %s: %v", a.row, a.name, userName(st.uid), err)
	}
	resolve := func(name string) bool { return st.changed("s/m-" + name) }
	if a.resolve != nil {
		resolve = func(name string) bool { return a.resolve(st, name) }
	}
	o := parse(strings.ReplaceAll(output(), st.tree, "T"), resolve)
	o.stderr, o.status = stderr.String(), cmd.ProcessState.ExitCode()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		o.stderr += fmt.Sprintf("\n%v", err)
	}
	if ctx.Err() != nil {
		o.stderr += fmt.Sprintf("\nnot finished after %v", limit)
	}
	return o
}

// command is the whole command line. The shell in front makes known under which
// number the front runs.
func (a *attack) command(st *stage, engine string) []string {
	victim := []string{built.victim}
	if strings.HasPrefix(a.victim[0], "/") {
		victim = nil
	} else if engine == "" {
		victim = append(victim, "parent", "parent")
	}
	for _, arg := range a.victim {
		victim = append(victim, st.expand(arg))
	}
	if engine == "" {
		return append(slices.Clone(a.control), victim...)
	}
	argv := []string{"/bin/sh", "-c", `exec "$0" run --env FRONT=$$ --env SECONDS "$@"`, built.capsicum, "--engine=" + engine}
	if *library {
		argv = append(argv, "--capsicum")
	}
	for _, g := range a.grants {
		argv = append(argv, st.expand(g))
	}
	return append(append(argv, "--"), victim...)
}

// excuse returns why an attempt need not succeed unconfined.
func (a *attack) excuse(name string, uid int) (string, bool) {
	for pattern, why := range a.unproven {
		who, glob, ok := strings.Cut(pattern, ":")
		if !ok {
			who, glob = "", pattern
		}
		if who != "" && who != userName(uid) {
			continue
		}
		if matches(glob, name) {
			return why, true
		}
	}
	return "", false
}

// matches is path.Match with "*" for "/", too.
func matches(glob, name string) bool {
	flat := strings.NewReplacer("/", "_")
	ok, err := path.Match(flat.Replace(glob), flat.Replace(name))
	return ok && err == nil
}

// unprovenBy lists the attempts that should have succeeded unconfined and did not.
func (a *attack) unprovenBy(o *outcome, uid int) []string {
	var out []string
	if !o.done {
		out = append(out, fmt.Sprintf("unconfined victim did not finish: status %d, stderr %s", o.status, o.stderr))
	}
	for _, at := range o.attempts {
		_, excused := a.excuse(at.name, uid)
		switch {
		case at.kind == '-' && at.succeeded():
			out = append(out, fmt.Sprintf("%s succeeded unconfined, so it must be proven: not a '-' line", at.name))
		case at.kind == '+' && !at.allSucceeded():
			out = append(out, fmt.Sprintf("%s failed unconfined: %v", at.name, at.errs))
		case at.kind == 0 && !at.succeeded() && !excused:
			out = append(out, fmt.Sprintf("%s failed unconfined: %v: its denial proves nothing", at.name, at.errs))
		}
	}
	return out
}

func (a *attempt) allSucceeded() bool {
	return !slices.ContainsFunc(a.errs, func(e string) bool { return e != "OK" })
}

// holes lists what went wrong inside.
func (a *attack) holes(o, control *outcome, uid int) []string {
	var out []string
	if !o.done && !a.quiet {
		out = append(out, fmt.Sprintf("victim did not finish: status %d", o.status))
	}
	for _, at := range o.attempts {
		_, excused := a.excuse(at.name, uid)
		switch {
		case at.kind == '+' && !at.allSucceeded():
			out = append(out, fmt.Sprintf("%s must work: %v", at.name, at.errs))
		case at.kind == '+':
		case at.succeeded():
			out = append(out, success(at.name))
		case at.kind == 0 && control.byName[at.name] == nil && !excused:
			out = append(out, fmt.Sprintf("%s was never tried unconfined", at.name))
		default:
			if bad := a.unexpected(at); bad != "" {
				out = append(out, fmt.Sprintf("%s failed with %s instead of %s", at.name, bad, a.wanted(at.name)))
			}
		}
	}
	for _, at := range control.attempts {
		if at.kind == '+' && o.byName[at.name] == nil && !a.quiet {
			out = append(out, fmt.Sprintf("%s must work: it was not reached", at.name))
		}
	}
	return out
}

func success(name string) string { return name + " SUCCEEDED" }

// documented lists the holes that docs/threat-model.md tells of, and the entries
// of that list which are holes no more.
func (a *attack) documented(o *outcome, engine string) (holes, stale []string) {
	for pattern := range a.open {
		glob, ok := strings.CutPrefix(pattern, engine+":")
		if !ok {
			continue
		}
		found := false
		for _, at := range o.attempts {
			if matches(glob, at.name) && at.succeeded() {
				holes, found = append(holes, success(at.name)), true
			}
		}
		if !found {
			stale = append(stale, glob)
		}
	}
	return holes, stale
}

// wanted is the set of errnos an attempt may fail with. The longest pattern decides.
func (a *attack) wanted(name string) string {
	best, want := "", a.want
	for glob, w := range a.wants {
		if matches(glob, name) && len(glob) > len(best) {
			best, want = glob, w
		}
	}
	return want
}

// unexpected returns an errno that the row does not allow, "" if all are allowed.
func (a *attack) unexpected(at *attempt) string {
	allowed := strings.Fields(a.wanted(at.name))
	for _, e := range at.errs {
		if len(allowed) > 0 && at.kind == 0 && !slices.Contains(allowed, e) {
			return e
		}
	}
	return ""
}

// caveats counts the attempts whose denial is not proven to be ours.
func (a *attack) caveats(control *outcome) int {
	n := 0
	for _, at := range control.attempts {
		if at.kind == 0 && !at.succeeded() {
			n++
		}
	}
	return n
}

// capture gives cmd a pipe to write to that belongs to the stage's user, so that
// /dev/stdout can be opened. What was written is known after cmd has ended.
func capture(st *stage, cmd *exec.Cmd) (output func() string) {
	r, w, err := os.Pipe()
	must(st.t, err)
	must(st.t, w.Chown(st.uid, st.uid))
	cmd.Stdout = w
	all := make(chan string, 1)
	go func() {
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			b = append(b, err.Error()...)
		}
		all <- string(b)
	}()
	return func() string {
		w.Close()
		select {
		case s := <-all:
			return s
		case <-time.After(time.Minute):
			return "a process of the sandbox holds its output open after its end"
		}
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
