package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cell is what one tool did with one workload.
type cell struct {
	seconds []float64            // of each run
	calls   map[string][]float64 // nanoseconds of single calls, of each run
	read    int64                // bytes of output, of the last run
	problem string               // why there is no time
}

// row is one workload under every tool, in the order of tools.
type row struct {
	*workload
	cells []cell
	traps []trap
}

// under is what the tool of that name did.
func (m row) under(name string) cell {
	return m.cells[slices.IndexFunc(tools, func(t tool) bool { return t.name == name })]
}

type results struct {
	rows  []row
	bed   *bed
	taken time.Time
}

// measureAll measures every selected workload.
func measureAll(b *bed, c config, log io.Writer) (*results, error) {
	if err := b.mountAccounts(); err != nil {
		return nil, err
	}
	if err := b.least(); err != nil {
		return nil, err
	}
	r := &results{bed: b, taken: time.Now()}
	for _, w := range workloads(b) {
		if !c.only.MatchString(w.name) {
			continue
		}
		if _, err := exec.LookPath(w.argv[0]); err != nil && !w.calls {
			fmt.Fprintf(log, "%s: not measured: %v\n", w.name, err)
			continue
		}
		if w.prepare != nil {
			if err := w.prepare(); err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
		}
		m := row{workload: w, cells: b.measure(w, c)}
		var err error
		if m.traps, err = b.countCalls(w); err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		fmt.Fprintf(log, "%s:%s\n", w.name, brief(m))
		r.rows = append(r.rows, m)
	}
	return r, nil
}

// measure runs a workload under every tool in turns. Each turn has an order of its
// own, so that none always has the same one before it: what that left in caches, and
// what the kernel still has to clear away behind it.
func (b *bed) measure(w *workload, c config) []cell {
	cells := make([]cell, len(tools))
	n := w.runs
	if c.quick {
		n = w.quick
	}
	if c.count > 0 {
		n = c.count
	}
	shuffled := rand.New(rand.NewPCG(1, 1))
	// One turn more than asked for, whose times are dropped: it fills caches.
	for turn := range n + 1 {
		for _, i := range shuffled.Perm(len(tools)) {
			if cells[i].problem == "" {
				b.once(w, tools[i], &cells[i], c.limit)
			}
		}
		if turn == 0 {
			for i := range cells {
				cells[i].seconds, cells[i].calls = nil, nil
			}
		}
	}
	for i := range cells {
		if cells[i].problem == "" && w.reads && cells[i].read != cells[0].read {
			cells[i].problem = fmt.Sprintf("wrote %d bytes, plain wrote %d", cells[i].read, cells[0].read)
		}
	}
	return cells
}

// once does one run and notes it in c.
func (b *bed) once(w *workload, t tool, c *cell, limit time.Duration) {
	if w.before != nil {
		if err := w.before(); err != nil {
			c.problem = err.Error()
			return
		}
	}
	argv, err := t.wrap(b, w)
	if errors.Is(err, exec.ErrNotFound) {
		c.problem = "–"
		return
	}
	if err != nil {
		c.problem = err.Error()
		return
	}
	if err := b.time(w, argv, c, limit); err != nil {
		c.problem = err.Error()
	}
}

func (b *bed) time(w *workload, argv []string, c *cell, limit time.Duration) error {
	cmd := b.command(w.cwd, argv)
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	if w.stdin != "" {
		in, err := os.Open(w.stdin)
		if err != nil {
			return fmt.Errorf("open input: %w", err)
		}
		defer in.Close()
		cmd.Stdin = in
	}
	var said, printed bytes.Buffer
	cmd.Stderr = &said
	var pipe io.Reader
	switch {
	case w.calls:
		cmd.Stdout = &printed
	case w.reads:
		p, err := cmd.StdoutPipe()
		if err != nil {
			return fmt.Errorf("make pipe: %w", err)
		}
		pipe = p
	}
	from := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", argv[0], err)
	}
	late := time.AfterFunc(limit, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	if pipe != nil {
		c.read = drain(pipe)
	}
	err := cmd.Wait()
	took := time.Since(from)
	if !late.Stop() {
		return fmt.Errorf("more than %v", limit)
	}
	if err != nil && cmd.ProcessState.ExitCode() != w.status {
		line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("%w: %s", err, line)
	}
	if w.made != "" {
		if _, err := os.Stat(w.made); err != nil {
			return fmt.Errorf("ended well and did nothing: %w", err)
		}
	}
	c.seconds = append(c.seconds, took.Seconds())
	return c.addCalls(printed.String())
}

// drain reads to the end and counts.
func drain(r io.Reader) int64 {
	buf := make([]byte, 256<<10)
	var total int64
	for {
		n, err := r.Read(buf)
		total += int64(n)
		if err != nil {
			return total
		}
	}
}

// addCalls notes "name nanoseconds" lines.
func (c *cell) addCalls(printed string) error {
	for line := range strings.Lines(printed) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "\t")
		ns, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			return fmt.Errorf("read a time in %q: %w", line, err)
		}
		if c.calls == nil {
			c.calls = make(map[string][]float64)
		}
		c.calls[name] = append(c.calls[name], ns)
	}
	return nil
}

// median is the middle of values; of two, the lower.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}
