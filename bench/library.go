package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed victim/held.c
var heldSource string

//go:embed victim/floor.c
var floorSource string

// forms are the ways in which the timed program holds its descriptors, as the
// command confine names them. The first is what the others are compared with.
var forms = []struct {
	arg, name string
	pinned    bool // on one processor
}{
	{"plain", "plain", false}, {"alone", "limited", false}, {"limited", "five limits", false}, {"mode", "five, capability mode", false},
	{"crowd", "64 more limits", false}, {"limited", "five, one processor", true},
}

// The columns that are named elsewhere.
const (
	columnPlain = iota
	columnAlone
	columnFive
	columnMode
	columnCrowd
	columnPinned
)

// pinned makes a program run on the first processor that we may use.
func pinned(argv []string) []string {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return argv
	}
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			return append([]string{"/usr/bin/taskset", "-c", fmt.Sprint(cpu)}, argv...)
		}
	}
	return argv
}

// trial is one measurement of the library: programs that print "name number", in
// turns.
type trial struct {
	name        string
	runs, quick int
	argv        [][]string // what is compared: a program for each column
}

// user is who measures.
type user struct {
	name string
	root bool
}

// measured is what the trials of one user printed: for each trial, its columns.
type measured struct {
	user
	trials map[string][]cell
}

type libraryResults struct {
	users []measured
	bed   *bed
	taken time.Time
}

// sizes are numbers of descriptors and of processes between which time and memory
// must not grow faster than they do.
var (
	descriptors = []int{100, 1000, 10000}
	processes   = []int{10, 100, 1000}
)

// trials are all measurements of the library.
func trials(b *bed) []trial {
	dir := b.path("library")
	confine, held := dir+"/confine", dir+"/held"
	single := trial{name: "library: single calls", runs: 9, quick: 2}
	for _, f := range forms {
		argv := []string{confine, "calls", f.arg, held, dir, fmt.Sprint(b.scaled(200000))}
		if f.pinned {
			argv = pinned(argv)
		}
		single.argv = append(single.argv, argv)
	}
	floor := []string{dir + "/floor", fmt.Sprint(b.scaled(20000)), dir}
	all := []trial{
		single,
		{name: "library: floor", runs: 9, quick: 2, argv: [][]string{floor, pinned(floor)}},
		{name: "library: limits", runs: 30, quick: 5, argv: [][]string{{confine, "limits"}}},
		{name: "library: enter", runs: 30, quick: 5, argv: [][]string{{confine, "enter"}}},
	}
	for _, p := range pairs {
		all = append(all, p.of(b))
	}
	for _, n := range descriptors {
		all = append(all, trial{name: manyName(n), runs: 5, quick: 1, argv: [][]string{{confine, "many", fmt.Sprint(n)}}})
	}
	for _, n := range processes {
		t := trial{name: forksName(n), runs: 5, quick: 1}
		for _, form := range []string{"plain", "limited"} {
			t.argv = append(t.argv, []string{confine, "forks", form, held, dir, fmt.Sprint(n)})
		}
		all = append(all, t)
	}
	return all
}

func manyName(n int) string  { return fmt.Sprintf("library: %d descriptors", n) }
func forksName(n int) string { return fmt.Sprintf("library: %d processes", n) }

// measureLibrary runs every selected trial, as root too if we are. It returns nil
// when none is selected.
func measureLibrary(b *bed, c config, log io.Writer) (*libraryResults, error) {
	r := &libraryResults{bed: b, taken: time.Now()}
	users := []user{{"an ordinary user", false}}
	if b.drop {
		users = append(users, user{"root", true})
	}
	prepared := false
	for _, u := range users {
		m := measured{user: u, trials: make(map[string][]cell)}
		for _, t := range trials(b) {
			if !c.only.MatchString(t.name) {
				continue
			}
			if !prepared {
				if err := b.library(); err != nil {
					return nil, fmt.Errorf("library: %w", err)
				}
				prepared = true
			}
			cells, err := b.try(t, u, c)
			if err != nil {
				return nil, fmt.Errorf("%s, as %s: %w", t.name, u.name, err)
			}
			fmt.Fprintf(log, "%s, as %s: measured\n", t.name, u.name)
			m.trials[t.name] = cells
		}
		if len(m.trials) > 0 {
			r.users = append(r.users, m)
		}
	}
	if len(r.users) == 0 {
		return nil, nil
	}
	return r, nil
}

// try runs the programs of a trial in turns.
func (b *bed) try(t trial, u user, c config) ([]cell, error) {
	cells := make([]cell, len(t.argv))
	n := t.runs
	if c.quick {
		n = t.quick
	}
	if c.count > 0 {
		n = c.count
	}
	for turn := range n {
		for k := range cells {
			i := (turn + k) % len(cells)
			cmd := b.command("/", t.argv[i])
			if u.root {
				cmd.SysProcAttr.Credential = nil
			}
			if err := cells[i].try(cmd, c.limit); err != nil {
				return nil, fmt.Errorf("%s: %w", strings.Join(t.argv[i], " "), err)
			}
		}
	}
	return cells, nil
}

// try notes what one run prints.
func (c *cell) try(cmd *exec.Cmd, limit time.Duration) error {
	var printed, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	late := time.AfterFunc(limit, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return c.addCalls(printed.String())
}

// library makes what the trials run.
func (b *bed) library() error {
	dir := b.path("library")
	if err := b.write(strings.Repeat("\x00", 1<<20), "library", "data"); err != nil {
		return err
	}
	for name, source := range map[string]string{"held": heldSource, "floor": floorSource} {
		if err := b.write(source, "library", name+".c"); err != nil {
			return err
		}
		// In capability mode only a program without a loader is executed.
		if err := b.do(dir, "gcc", "-O2", "-static", "-o", name, name+".c"); err != nil {
			return err
		}
	}
	build := exec.Command(goCommand(), "build", "-trimpath", "-o", dir+"/confine", "github.com/capsicum-go/capsicum/bench/confine")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}
