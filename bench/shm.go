package main

import (
	"fmt"
	"io"
)

// memoryMost is how many times as long shared memory may take as a plain memfd.
const memoryMost = 1.02

const memoryTrial = "library: shared memory"

func memoryTrialOf(b *bed) trial {
	return trial{name: memoryTrial, runs: 5, quick: 1, argv: [][]string{{b.path("library") + "/confine", "shared", fmt.Sprint(b.scaled(1024))}}}
}

func writeMemory(w io.Writer, m measured) {
	plain, ours := m.value(memoryTrial, 0, "memfd"), m.value(memoryTrial, 0, "shm")
	if plain == 0 {
		return
	}
	fmt.Fprintf(w, "## Shared memory, as %s\n\nMaking 1 GB of it, mapping it and touching each page: %s of a plain memfd, %s of package `shm`.\n\n",
		m.name, shortly(plain), shortly(ours))
}

func (m measured) addMemory(add func(string, float64, float64)) {
	if plain := m.value(memoryTrial, 0, "memfd"); plain > 0 {
		add("1 GB of shared memory, to a memfd", m.value(memoryTrial, 0, "shm")/plain, memoryMost)
	}
}
