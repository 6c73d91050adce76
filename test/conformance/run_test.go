//go:build linux || freebsd

package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a child may be silent. Machines have been seen to stand still for
// 46 seconds.
const patience = time.Minute

// A child stacks filters that every later call of it passes, so it does not get
// too many cases.
const perChild = 24

// runCases runs cases in a column and returns what came of each.
func runCases(t *testing.T, exe string, col column, cases []Case) map[string]result {
	t.Helper()
	var mu sync.Mutex
	results := map[string]result{}
	work := make(chan []Case)
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for batch := range work {
				for name, r := range runBatch(t, exe, col, batch) {
					mu.Lock()
					results[name] = r
					mu.Unlock()
				}
			}
		})
	}
	for _, batch := range batches(cases) {
		work <- batch
	}
	close(work)
	wg.Wait()
	return results
}

// batches groups cases that can share a process.
func batches(cases []Case) [][]Case {
	open := map[phase][]Case{}
	var list [][]Case
	for _, c := range cases {
		if c.In == alone {
			list = append(list, []Case{c})
			continue
		}
		if open[c.In] = append(open[c.In], c); len(open[c.In]) == perChild {
			list = append(list, open[c.In])
			open[c.In] = nil
		}
	}
	for _, rest := range open {
		if len(rest) > 0 {
			list = append(list, rest)
		}
	}
	return list
}

// runBatch runs cases in one process, and those that are left in another when it
// dies or falls silent: the case that it was at has failed.
func runBatch(t *testing.T, exe string, col column, cases []Case) map[string]result {
	t.Helper()
	results := map[string]result{}
	for len(cases) > 0 {
		got, err := runChild(t, exe, col, cases)
		for i, r := range got {
			if i >= len(cases) || r.Case != cases[i].Name {
				// A copy of the process went on after its fork, or something else spoke.
				err = fmt.Errorf("the result of %q came out of turn: %q", r.Case, r.Failure)
				got = got[:i]
				break
			}
			results[r.Case] = r
		}
		if err == nil && len(got) < len(cases) {
			err = errors.New("it ended without an error")
		}
		last := min(len(got), len(cases)-1)
		if err != nil {
			r := results[cases[last].Name]
			r.Failure += fmt.Sprintf(" the process ended badly at or after this case: %v", err)
			results[cases[last].Name] = r
		}
		cases = cases[last+1:]
	}
	return results
}

// runChild runs cases in one process and returns what it said.
func runChild(t *testing.T, exe string, col column, cases []Case) ([]result, error) {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(exe), "case")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	o := order{Dir: dir, In: cases[0].In, Static: col.static, Threads: col.threads}
	for _, c := range cases {
		o.Cases = append(o.Cases, c.Name)
	}
	if o.In == bare {
		o.Static, o.Threads = false, false
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	argv := append(slices.Clone(col.under), exe)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text), "TMPDIR="+dir, "GODEBUG=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if col.uid != os.Geteuid() {
		if err := os.Chown(dir, col.uid, col.uid); err != nil {
			return nil, err
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(col.uid), Gid: uint32(col.uid), Groups: []uint32{}}
	}
	return listen(cmd)
}

// listen starts a child and collects its lines until it ends; one that is silent
// for too long is made to say where it is, and killed with its group.
func listen(cmd *exec.Cmd) ([]result, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	cmd.Stdout = w
	cmd.WaitDelay = patience
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return nil, err
	}
	silent := false
	timer := time.AfterFunc(patience, func() {
		silent = true
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT)
		time.Sleep(time.Second)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	})
	var got []result
	lines := bufio.NewReader(r)
	// A process that outlives the child could keep the pipe open.
	_ = r.SetReadDeadline(time.Now().Add(4 * patience))
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) || err != nil {
			break
		}
		timer.Reset(patience)
		var res result
		if err := json.Unmarshal(line, &res); err != nil {
			stderr.Write(line)
			continue
		}
		got = append(got, res)
	}
	err = cmd.Wait()
	stopped := !timer.Stop() && silent
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it may have left
	if err != nil {
		what := tail(stderr.String())
		if stopped {
			what = "it was silent for " + patience.String() + "; " + what
		}
		return got, fmt.Errorf("%w: %s", err, what)
	}
	return got, nil
}

// tail returns the end of a text, where a crash says why first.
func tail(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 1500 {
		s = s[:1500] + "…"
	}
	return s
}
