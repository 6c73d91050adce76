package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/syscalls"
)

// trap is a system call and how often the plain program makes it.
type trap struct {
	call  string
	times int
}

// countCalls runs the plain program under strace. It is what would ask under
// an engine, not what did: a confined program makes the same calls.
func (b *bed) countCalls(w *workload) ([]trap, error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return nil, nil
	}
	if w.before != nil {
		if err := w.before(); err != nil {
			return nil, err
		}
	}
	if err := b.mkdir("strace"); err != nil {
		return nil, err
	}
	counts := b.path("strace", "counts")
	cmd := b.command(w.cwd, append([]string{strace, "-f", "-c", "-o", counts, "--"}, w.argv...))
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	if w.stdin != "" {
		in, err := os.Open(w.stdin)
		if err != nil {
			return nil, fmt.Errorf("open input: %w", err)
		}
		defer in.Close()
		cmd.Stdin = in
	}
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("count calls: %w", err)
	}
	text, err := os.ReadFile(counts)
	if err != nil {
		return nil, fmt.Errorf("count calls: %w", err)
	}
	return parseCounts(string(text)), nil
}

// parseCounts reads what strace -c prints.
func parseCounts(text string) []trap {
	var out []trap
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		// % time, seconds, usecs/call, calls, [errors,] syscall
		f := strings.Fields(lines.Text())
		if len(f) != 5 && len(f) != 6 {
			continue
		}
		n, err := strconv.Atoi(f[3])
		if err != nil || f[len(f)-1] == "total" {
			continue
		}
		out = append(out, trap{f[len(f)-1], n})
	}
	slices.SortFunc(out, func(a, b trap) int { return b.times - a.times })
	return out
}

// asking keeps the calls that may ask under an engine.
func asking(all []trap, engine policy.Engine) []trap {
	asks := syscalls.Asks(syscalls.Options{Engine: engine, Dgram: true, SignalScope: true, AbstractScope: true, PtraceScope: true})
	var out []trap
	for _, t := range all {
		if slices.Contains(asks, t.call) {
			out = append(out, t)
		}
	}
	return out
}
