package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/policy"
)

// writeReport prints everything as Markdown.
func writeReport(w io.Writer, r *results) {
	fmt.Fprintf(w, "# Performance\n\n%s\n\n", machine(r.taken, r.bed.quick))
	fmt.Fprint(w, "Times are medians from start to exit, of runs that took turns. The factor is the ratio to the plain run.\n"+
		"All tools ran as the same ordinary user, with the same trees granted where the tool can say it.\n"+
		"Firejail without a profile hides nothing: it shows the whole host read-only, which is less work.\n"+
		"The last column makes the same namespaces, with a Landlock rule and a filter that permit everything; nothing is hidden or refused.\n\n")
	whole := rowsWhere(r, func(m row) bool { return !m.calls && !m.many })
	section(w, "Whole programs", whole, len(whole) > 0)
	grants := rowsWhere(r, func(m row) bool { return m.many })
	section(w, "Many grants", grants, len(grants) > 0)
	for _, m := range rowsWhere(r, func(m row) bool { return m.calls }) {
		writeCalls(w, m)
	}
	writeTraps(w, rowsWhere(r, func(m row) bool { return !m.many && len(m.traps) > 0 }))
	writeTargetList(w, r.targets())
}

func rowsWhere(r *results, keep func(row) bool) []row {
	var out []row
	for _, m := range r.rows {
		if keep(m) {
			out = append(out, m)
		}
	}
	return out
}

// machine says where the numbers come from.
func machine(taken time.Time, quick bool) string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "machine unknown: " + err.Error()
	}
	parts := []string{"Linux " + unix.ByteSliceToString(uts.Release[:]), runtime.GOARCH, fmt.Sprintf("%d CPUs", runtime.NumCPU()), runtime.Version()}
	for _, argv := range [][]string{{"bwrap", "--version"}, {"firejail", "--version"}} {
		if out, err := exec.Command(argv[0], argv[1:]...).Output(); err == nil {
			line, _, _ := strings.Cut(string(out), "\n")
			parts = append(parts, strings.TrimSpace(line))
		}
	}
	size := ""
	if quick {
		size = " Quick run: small workloads, few runs; not for comparison."
	}
	return fmt.Sprintf("Measured %s on %s, by `go run ./bench`.%s", taken.Format("2006-01-02"), strings.Join(parts, ", "), size)
}

func section(w io.Writer, title string, rows []row, any bool) {
	if !any {
		return
	}
	fmt.Fprintf(w, "## %s\n\n| workload | runs |", title)
	for _, t := range tools {
		fmt.Fprintf(w, " %s |", t.name)
	}
	fmt.Fprintf(w, "\n| --- | ---: |%s\n", strings.Repeat(" ---: |", len(tools)))
	for _, m := range rows {
		fmt.Fprintf(w, "| %s | %d |", m.name, len(m.cells[0].seconds))
		for i := range m.cells {
			fmt.Fprintf(w, " %s |", shown(m.cells, i))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	for _, m := range rows {
		if m.note != "" {
			fmt.Fprintf(w, "- %s: %s\n", m.name, m.note)
		}
		for i, c := range m.cells {
			if c.problem != "" && c.problem != "–" {
				fmt.Fprintf(w, "- %s under %s: %s\n", m.name, tools[i].name, c.problem)
			}
		}
	}
	fmt.Fprintln(w)
}

// shown is one cell of a table.
func shown(cells []cell, i int) string {
	if cells[i].problem != "" {
		return "–"
	}
	text := duration(median(cells[i].seconds))
	if i > 0 && cells[0].problem == "" {
		text += fmt.Sprintf(" (%.2f)", median(cells[i].seconds)/median(cells[0].seconds))
	}
	return text
}

func duration(s float64) string {
	switch {
	case s < 0.1:
		return fmt.Sprintf("%.2f ms", s*1e3)
	case s < 1:
		return fmt.Sprintf("%.0f ms", s*1e3)
	}
	return fmt.Sprintf("%.2f s", s)
}

// brief is a row for the log.
func brief(m row) string {
	var b bytes.Buffer
	for i, c := range m.cells {
		text := shown(m.cells, i)
		if c.problem != "" {
			text = c.problem
		}
		fmt.Fprintf(&b, " %s %s;", tools[i].name, text)
	}
	return strings.TrimSuffix(b.String(), ";")
}

// writeCalls prints the times of single calls.
func writeCalls(w io.Writer, m row) {
	fmt.Fprintf(w, "## Single calls\n\nMicroseconds for one call in a C program, and the ratio to the plain run.\n\n| call |")
	for _, t := range tools {
		fmt.Fprintf(w, " %s |", t.name)
	}
	fmt.Fprintf(w, "\n| --- |%s\n", strings.Repeat(" ---: |", len(tools)))
	plain := m.cells[0].calls
	names := slices.SortedFunc(maps.Keys(plain), func(a, b string) int {
		return int(median(plain[a]) - median(plain[b]))
	})
	for _, name := range names {
		fmt.Fprintf(w, "| %s |", name)
		for i, c := range m.cells {
			if c.problem != "" || len(c.calls[name]) == 0 {
				fmt.Fprint(w, " – |")
				continue
			}
			fmt.Fprintf(w, " %.2f", median(c.calls[name])/1e3)
			if i > 0 {
				fmt.Fprintf(w, " (%.1f)", median(c.calls[name])/median(plain[name]))
			}
			fmt.Fprint(w, " |")
		}
		fmt.Fprintln(w)
	}
	for i, c := range m.cells {
		if c.problem != "" {
			fmt.Fprintf(w, "\n%s: %s\n", tools[i].name, c.problem)
		}
	}
	fmt.Fprintln(w)
}

// writeTraps prints what asks the supervisor.
func writeTraps(w io.Writer, rows []row) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprint(w, "## What asks the supervisor\n\nCalls of the plain program, counted by strace, that may ask under each engine; the rest is decided in the kernel.\n\n"+
		"| workload | calls | namespaces | landlock |\n| --- | ---: | --- | --- |\n")
	for _, m := range rows {
		total := 0
		for _, t := range m.traps {
			total += t.times
		}
		fmt.Fprintf(w, "| %s | %d | %s | %s |\n", m.name, total,
			counts(asking(m.traps, policy.EngineNamespaces)), counts(asking(m.traps, policy.EngineLandlock)))
	}
	fmt.Fprintln(w)
}

// counts lists the most frequent calls and the sum of the others.
func counts(traps []trap) string {
	if len(traps) == 0 {
		return "none"
	}
	var parts []string
	others := 0
	for i, t := range traps {
		if i < 5 {
			parts = append(parts, fmt.Sprintf("%s %d", t.call, t.times))
		} else {
			others += t.times
		}
	}
	if others > 0 {
		parts = append(parts, fmt.Sprintf("others %d", others))
	}
	return strings.Join(parts, ", ")
}

// target is a promise about one workload.
type target struct {
	text   string
	got    float64
	most   float64
	others map[string]float64 // what others got
}

func (t target) met() bool { return t.got > 0 && t.got <= t.most }

// targets of what was measured: starting at most as long as bubblewrap, and
// working at most 1.05 times as long as plainly.
func (r *results) targets() []target {
	var out []target
	for _, m := range r.rows {
		plain, ours, bwrap := m.under("plain"), m.under("namespaces"), m.under("bubblewrap")
		if strings.HasPrefix(m.name, "start /bin/true") && bwrap.problem == "" {
			out = append(out, target{text: m.name + ": namespaces to bubblewrap", got: ratio(ours, bwrap), most: 1})
		}
		if m.target > 0 {
			out = append(out, target{text: m.name + ": namespaces to plain", got: ratio(ours, plain), most: m.target,
				others: map[string]float64{"bubblewrap": ratio(bwrap, plain), "least": ratio(m.under("least"), plain)}})
		}
	}
	return out
}

// ratio is 0 when there is none.
func ratio(a, b cell) float64 {
	if a.problem != "" || b.problem != "" || median(b.seconds) == 0 {
		return 0
	}
	return median(a.seconds) / median(b.seconds)
}

func (r *results) missed() int {
	return missed(r.targets())
}

func missed(list []target) int {
	n := 0
	for _, t := range list {
		if !t.met() {
			n++
		}
	}
	return n
}

func writeTargetList(w io.Writer, list []target) {
	if len(list) == 0 {
		return
	}
	fmt.Fprint(w, "## Targets\n\n| target | at most | measured | |\n| --- | ---: | ---: | --- |\n")
	for _, t := range list {
		verdict := "missed"
		if t.met() {
			verdict = "met"
		} else {
			for _, name := range slices.Sorted(maps.Keys(t.others)) {
				if t.others[name] > 0 {
					verdict += fmt.Sprintf("; %s %.3f", name, t.others[name])
				}
			}
		}
		got := "–"
		if t.got > 0 {
			got = fmt.Sprintf("%.3f", t.got)
		}
		fmt.Fprintf(w, "| %s | %.2f | %s | %s |\n", t.text, t.most, got, verdict)
	}
	if _, err := os.Stat("/.dockerenv"); err == nil {
		fmt.Fprint(w, "\nMeasured in a container.\n")
	}
}
