package main

import (
	"fmt"
	"io"
)

// childMost is how many times as long a child may take that is held by a descriptor.
const childMost = 1.2

const childrenTrial = "library: children"

func childrenTrialOf(b *bed) trial {
	return trial{name: childrenTrial, runs: 9, quick: 2, argv: [][]string{{b.path("library") + "/confine", "children", fmt.Sprint(b.scaled(300))}}}
}

func writeChildren(w io.Writer, m measured) {
	plain, held := m.value(childrenTrial, 0, "os/exec"), m.value(childrenTrial, 0, "procdesc")
	if plain == 0 {
		return
	}
	fmt.Fprintf(w, "## Children, as %s\n\nStart, exit and wait of a child that does nothing: %s with os/exec, %s with a process descriptor.\n\n",
		m.name, shortly(plain), shortly(held))
}

func (m measured) addChildren(add func(string, float64, float64)) {
	if plain := m.value(childrenTrial, 0, "os/exec"); plain > 0 {
		add("start, exit, wait: process descriptor to os/exec", m.value(childrenTrial, 0, "procdesc")/plain, childMost)
	}
}
