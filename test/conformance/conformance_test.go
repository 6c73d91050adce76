//go:build linux || freebsd

package conformance

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/capsicum-go/capsicum/internal/exetest"
)

var (
	full   = flag.Bool("conformance.full", false, "run every case in every column")
	absent = flag.String("conformance.absent", "", "words separated by commas: what cases with one in their name are about, this kernel has not")
	only   = flag.String("conformance.only", "", "run only cases whose name contains this")
)

// ordinary is the user beside root.
const ordinary = 1500

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		os.Exit(child(text))
	}
	os.Exit(m.Run())
}

// column is a set of circumstances.
type column struct {
	name    string
	uid     int
	threads bool
	static  bool
	sample  bool // only every eighth case, and the chapter on threads
	c       bool // with the C library

	under  []string // the command that each process is run under
	absent []string // words of cases about what there is not; see -conformance.absent
	exact  []string // cases that are met there, though inexact elsewhere
}

func (c column) form() string {
	if c.static {
		return "static"
	}
	return "supervised"
}

// columns lists those of this run.
func columns() []column {
	users := map[string]int{"user": os.Geteuid()}
	if os.Geteuid() == 0 {
		users = map[string]int{"root": 0, "user": ordinary}
	}
	var list []column
	for _, user := range []string{"user", "root"} {
		uid, ok := users[user]
		if !ok {
			continue
		}
		for _, c := range []column{{name: "alone"}, {name: "threads", threads: true}, {name: "static", static: true}, {name: "static, threads", static: true, threads: true}} {
			if c.static && runtime.GOOS != "linux" {
				continue // the kernel enforces; nothing can be missing
			}
			if c.sample = c.threads; !*full && (user == "root" || c.static && c.threads) {
				continue
			}
			c.sample = c.sample && !*full
			c.name, c.uid = user+", "+c.name, uid
			list = append(list, c)
		}
	}
	return list
}

// catalogue returns every case.
func catalogue() []Case {
	return slices.Concat(
		capabilityModeCases(), rightsCases(), limitCases(), inheritanceCases(), lookupCases(),
		fcntlCases(), ioctlCases(), mmapCases(), pollCases(), socketCases(), processCases(), threadCases(),
	)
}

var byName = sync.OnceValue(func() map[string]Case {
	m := map[string]Case{}
	for _, c := range catalogue() {
		if _, ok := m[c.Name]; ok {
			panic("two cases are called " + c.Name)
		}
		m[c.Name] = c
	}
	return m
})

// TestConformance runs the cases with the Go package.
func TestConformance(t *testing.T) { conform(t, exetest.Self(t), columns()) }

// outcomes is what came of each case, by the column's name.
var outcomes = map[string]map[string]result{}

// conform runs the cases of some columns in processes of an executable.
func conform(t *testing.T, exe string, columns []column) {
	var tallies []*tally
	missing := map[string]bool{}
	for _, c := range columns {
		tallies = append(tallies, &tally{column: c})
	}
	for _, col := range tallies {
		t.Run(col.name, func(t *testing.T) {
			results := runCases(t, exe, col.column, selected(col.column))
			outcomes[col.name] = results
			for _, c := range selected(col.column) {
				r, ok := results[c.Name]
				if !ok {
					r.Failure = "it was not run"
				}
				problem := judgeInexact(c, col.column, r.Failure)
				if word := absentIn(c, col.column); word != "" {
					missing[word] = missing[word] || r.Failure != ""
					problem = ""
				}
				col.add(c, problem)
				t.Run(c.Name, func(t *testing.T) {
					if problem != "" {
						t.Error(problem)
					}
				})
			}
		})
	}
	for word, ok := range missing {
		if !ok {
			t.Errorf("%s is there", word)
		}
	}
	print(os.Stdout, tallies)
}

// absentIn returns the word of -conformance.absent, or of the column, that a case is
// about.
func absentIn(c Case, col column) string {
	for _, word := range append(strings.Split(*absent, ","), col.absent...) {
		if word != "" && strings.Contains(c.Name, word) {
			return word
		}
	}
	return ""
}

// selected lists the cases of a column.
func selected(col column) []Case {
	var list []Case
	for i, c := range catalogue() {
		if c.Root && col.uid != 0 {
			continue
		}
		if !strings.Contains(c.Name, *only) {
			continue
		}
		if col.sample && *only == "" && i%8 != 0 && c.chapter() != "threads" {
			continue
		}
		list = append(list, c)
	}
	return list
}

// inexact returns why a case need not be met.
func inexact(c Case, col column) string {
	if slices.Contains(col.exact, c.Name) {
		return ""
	}
	for _, e := range inexactIn(col) {
		if (e.Column == "" || e.Column == col.form()) && e.is(c) {
			return e.Because
		}
	}
	return ""
}

// inexactIn lists what is inexact with the library of a column.
func inexactIn(col column) []inexactCase {
	if col.c {
		return slices.Concat(Inexact, InexactWithC)
	}
	return Inexact
}

// is reports whether c is what e is about.
func (e inexactCase) is(c Case) bool {
	prefix, many := strings.CutSuffix(e.Case, "*")
	return c.Name == e.Case || many && strings.HasPrefix(c.Name, prefix)
}

// judgeInexact turns the outcome of a documented case around: what it is said not
// to do, it must not do, or the document is wrong.
func judgeInexact(c Case, col column, failure string) string {
	if inexact(c, col) == "" {
		return failure
	}
	if failure == "" {
		return "it is documented as inexact, and met: take it out of Inexact"
	}
	return ""
}

// TestInexactIsReal keeps the list of what is inexact to cases that exist.
func TestInexactIsReal(t *testing.T) {
	for _, e := range inexactIn(column{c: true}) {
		if !slices.ContainsFunc(catalogue(), e.is) {
			t.Errorf("Inexact names %s, which is no case", e.Case)
		}
		if e.Because == "" {
			t.Errorf("Inexact gives no reason for %s", e.Case)
		}
	}
}

// tally counts what came out in a column.
type tally struct {
	column
	chapters []string
	count    map[string][2]int // chapter → passed, failed
}

func (y *tally) add(c Case, problem string) {
	if y.count == nil {
		y.count = map[string][2]int{}
	}
	n, ok := y.count[c.chapter()]
	if !ok {
		y.chapters = append(y.chapters, c.chapter())
	}
	if problem == "" {
		n[0]++
	} else {
		n[1]++
	}
	y.count[c.chapter()] = n
}

// print writes the table: a row for each chapter, and cases, passed and failed for
// each column.
func print(w io.Writer, tallies []*tally) {
	fmt.Fprintf(w, "\n%-18s", "cases/passed/failed")
	for _, y := range tallies {
		fmt.Fprintf(w, " %24s", y.name)
	}
	total := make([][2]int, len(tallies))
	for _, chapter := range tallies[0].allChapters(tallies) {
		fmt.Fprintf(w, "\n%-19s", chapter)
		for i, y := range tallies {
			n := y.count[chapter]
			total[i][0] += n[0]
			total[i][1] += n[1]
			fmt.Fprintf(w, " %24s", fmt.Sprintf("%d/%d/%d", n[0]+n[1], n[0], n[1]))
		}
	}
	fmt.Fprintf(w, "\n%-19s", "all")
	for _, n := range total {
		fmt.Fprintf(w, " %24s", fmt.Sprintf("%d/%d/%d", n[0]+n[1], n[0], n[1]))
	}
	list := inexactIn(tallies[0].column)
	fmt.Fprintf(w, "\n\ninexact: %d\n", len(list))
	for _, e := range list {
		fmt.Fprintf(w, "  %s (%s): %s\n", e.Case, e.Column, e.Because)
	}
}

func (y *tally) allChapters(tallies []*tally) []string {
	var list []string
	for _, y := range tallies {
		for _, c := range y.chapters {
			if !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
	}
	return list
}
