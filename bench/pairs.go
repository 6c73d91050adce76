package main

import (
	"fmt"
	"io"
)

// pair is something of the library beside what is plainly used for it, which one
// program times.
type pair struct {
	trial       string
	runs, quick int
	arg         string // of the program confine
	times       int    // how often it is to do it
	plain, ours string // what it prints
	title, does string
	calls       [2]string // both, in a sentence
	target      string
	most        float64 // as many times as long
}

var pairs = []pair{
	{
		"library: children", 9, 2, "children", 300, "os/exec", "procdesc",
		"Children", "Start, exit and wait of a child that does nothing", [2]string{"with os/exec", "with a process descriptor"},
		"start, exit, wait: process descriptor to os/exec", 1.2,
	},
	{
		"library: shared memory", 5, 1, "shared", 1024, "memfd", "shm",
		"Shared memory", "Making 1 GB of it, mapping it and touching each page", [2]string{"of a plain memfd", "of package `shm`"},
		"1 GB of shared memory, to a memfd", 1.02,
	},
}

func (p pair) of(b *bed) trial {
	return trial{name: p.trial, runs: p.runs, quick: p.quick, argv: [][]string{{b.path("library") + "/confine", p.arg, fmt.Sprint(b.scaled(p.times))}}}
}

func (p pair) write(w io.Writer, m measured) {
	plain, ours := m.value(p.trial, 0, p.plain), m.value(p.trial, 0, p.ours)
	if plain == 0 {
		return
	}
	fmt.Fprintf(w, "## %s, as %s\n\n%s: %s %s, %s %s.\n\n", p.title, m.name, p.does, shortly(plain), p.calls[0], shortly(ours), p.calls[1])
}

func (p pair) add(m measured, add func(string, float64, float64)) {
	if plain := m.value(p.trial, 0, p.plain); plain > 0 {
		add(p.target, m.value(p.trial, 0, p.ours)/plain, p.most)
	}
}
