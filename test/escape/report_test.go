//go:build linux && amd64

package escape

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"
	"text/tabwriter"
)

// verdict is one line of the results.
type verdict struct {
	row      int
	attack   string
	engine   string
	user     string
	attempts int
	holes    []string
	caveats  int // attempts that fail unconfined, too
	open     int // attempts that succeed, as documented
}

// report collects verdicts.
type report struct {
	mu   sync.Mutex
	list []verdict
}

var verdicts report

func (r *report) add(v verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, v)
}

func (r *report) print(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.list, func(a, b verdict) int {
		return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.attack, b.attack), cmp.Compare(b.engine, a.engine), cmp.Compare(a.user, b.user))
	})
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "row\tattack\tengine\tuser\tattempts\tunproven\tverdict")
	for _, v := range r.list {
		say := "held"
		if v.open > 0 {
			say = fmt.Sprintf("held but for %d documented", v.open)
		}
		switch {
		case len(v.holes) > 0:
			say = fmt.Sprintf("%d HOLES", len(v.holes))
		case v.attempts == 0:
			say = "held: its means are refused"
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%d\t%d\t%s\n", v.row, v.attack, v.engine, v.user, v.attempts, v.caveats, say)
	}
	tw.Flush() // standard output of a test: nobody is told of a failure
}
