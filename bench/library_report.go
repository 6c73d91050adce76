package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// What the library promises.
const (
	hotMost     = 1.5  // a call that nobody is asked about, to the plain one
	openMost    = 12.0 // microseconds that openat takes longer
	attachMost  = 10.0 // milliseconds of the first limit
	limitMost   = 50.0 // microseconds of a later one
	baseMost    = 20.0 // MB of the supervisor
	slotMost    = 1024 // bytes more for each limited descriptor
	growthMost  = 1.5  // time for one of 10,000 to that for one of 1,000
	callsTrial  = "library: single calls"
	floorTrial  = "library: floor"
	limitsTrial = "library: limits"
)

// hot are the calls that the promise is about.
var hot = []string{"read", "write", "pread", "pwrite", "lseek", "sendto + recvfrom", "mmap + munmap", "epoll_wait", "poll",
	"read, opened beneath", "write, opened beneath", "pread, opened beneath", "pwrite, opened beneath", "lseek, opened beneath",
	"mmap + munmap, opened beneath"}

// asked are calls that the supervisor decides.
var asked = []string{"fstat", "dup", "close, after dup", "openat", "close, after openat", "fstatat"}

// value is the median of what column i of a trial printed under name; 0 for none.
func (m measured) value(trial string, i int, name string) float64 {
	cells := m.trials[trial]
	if i >= len(cells) {
		return 0
	}
	return median(cells[i].calls[name])
}

func writeLibrary(w io.Writer, r *libraryResults) {
	fmt.Fprintf(w, "# Performance of the library\n\n%s\n\n", machine(r.taken, r.bed.quick))
	fmt.Fprint(w, "How a process that confines itself with package `capsicum` is slowed down. Times are medians of runs that took turns.\n"+
		"Single calls are made by a C program that is executed with the descriptors: *limited* ones have exactly the rights\n"+
		"that the calls need. With *five limits* the file, two sockets, a directory and an epoll instance are limited at the same\n"+
		"time; *capability mode* is that after `Enter`; with *64 more limits* the process has limited as many other descriptors\n"+
		"with numbers below 256 beside. Each limit of these is one more filter for the kernel to run. The last column has program\n"+
		"and supervisor on one processor: elsewhere a descriptor that the supervisor hands over wakes its caller on another\n"+
		"processor if one is idle, which on a virtual machine can take ten times as long as all the rest.\n\n")
	for _, m := range r.users {
		writeSingle(w, m)
		writeFloor(w, m)
		writeSteps(w, m)
		writeMany(w, m)
		writeForks(w, m)
		for _, p := range pairs {
			p.write(w, m)
		}
	}
	writeTargetList(w, r.targets())
	fmt.Fprintf(w, "\nCalls that ask nobody are compared one byte at a time, where %.1f is hardest to keep.\n", hotMost)
}

func writeSingle(w io.Writer, m measured) {
	cells := m.trials[callsTrial]
	if len(cells) == 0 {
		return
	}
	fmt.Fprintf(w, "## Single calls, as %s\n\nMicroseconds, and the ratio to the plain call. "+
		"The upper part asks nobody, but for poll; the lower asks the supervisor.\n\n| call |", m.name)
	for _, f := range forms {
		fmt.Fprintf(w, " %s |", f.name)
	}
	fmt.Fprintf(w, "\n| --- |%s\n", strings.Repeat(" ---: |", len(forms)))
	for _, name := range slices.Concat(hot, asked) {
		fmt.Fprintf(w, "| %s |", name)
		plain := m.value(callsTrial, 0, name)
		for i := range cells {
			fmt.Fprintf(w, " %.2f", m.value(callsTrial, i, name)/1e3)
			if i > 0 && plain > 0 {
				fmt.Fprintf(w, " (%.1f)", m.value(callsTrial, i, name)/plain)
			}
			fmt.Fprint(w, " |")
		}
		fmt.Fprintln(w)
	}
	const name = "pread"
	five, crowd := m.value(callsTrial, columnFive, name), m.value(callsTrial, columnCrowd, name)
	fmt.Fprintf(w, "\nOne filter more costs a call that takes a descriptor %.0f ns, as its %s tells.\n\n", (crowd-five)/64, name)
}

// writeFloor tells what no supervisor could do faster.
func writeFloor(w io.Writer, m measured) {
	answer, opened := m.value(floorTrial, 0, "question and answer"), m.value(floorTrial, 0, "openat")
	beside := m.value(floorTrial, 0, "openat beside")
	pinned, pinnedBeside := m.value(floorTrial, 1, "openat"), m.value(floorTrial, 1, "openat beside")
	if answer == 0 {
		return
	}
	fmt.Fprintf(w, "The floor on this machine, as %s: a question and its answer, in C and with nothing looked at, take %.1f µs; "+
		"an openat carried out by such a supervisor, which copies the name and nothing else, %.1f µs, on one processor %.1f. "+
		"With a question after each that this supervisor takes 2 µs to answer, as the close of the descriptor is one, "+
		"an openat takes it %.1f µs, on one processor %.1f.\n\n",
		m.name, answer/1e3, opened/1e3, pinned/1e3, beside/1e3, pinnedBeside/1e3)
}

func writeSteps(w io.Writer, m measured) {
	if len(m.trials[limitsTrial]) == 0 {
		return
	}
	fmt.Fprintf(w, "## Calls of the library, as %s\n\n| call | time |\n| --- | ---: |\n", m.name)
	for _, row := range []struct{ trial, name string }{
		{limitsTrial, "first Limit"}, {"library: enter", "first Enter"}, {limitsTrial, "Enter after Limit"},
		{limitsTrial, "Limit without a filter"}, {limitsTrial, "Limit with a filter, 1 to 15"},
		{limitsTrial, "Limit with a filter, 16 to 30"}, {limitsTrial, "Limit with a filter, 31 to 45"},
	} {
		if ns := m.value(row.trial, 0, row.name); ns > 0 {
			fmt.Fprintf(w, "| %s | %s |\n", row.name, shortly(ns))
		}
	}
	fmt.Fprintf(w, "\nThe supervisor then has %.1f MB resident.\n\n", m.value(limitsTrial, 0, "resident, supervisor")/1e6)
}

func shortly(ns float64) string {
	if ns < 1e6 {
		return fmt.Sprintf("%.1f µs", ns/1e3)
	}
	return fmt.Sprintf("%.2f ms", ns/1e6)
}

func writeMany(w io.Writer, m measured) {
	if len(m.trials[manyName(descriptors[0])]) == 0 {
		return
	}
	fmt.Fprintf(w, "## Many descriptors, as %s\n\nTime for each, in one process; and what the supervisor grew by for each that was limited.\n\n"+
		"| descriptors | Limit | dup | close | openat | close | memory |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n", m.name)
	for _, n := range descriptors {
		t := manyName(n)
		fmt.Fprintf(w, "| %d |", n)
		for _, name := range []string{"limit", "dup", "close after dup", "openat", "close after openat"} {
			fmt.Fprintf(w, " %s |", shortly(m.value(t, 0, name)))
		}
		fmt.Fprintf(w, " %.0f bytes |\n", m.grown(n))
	}
	fmt.Fprintln(w)
}

// grown is what the supervisor's memory grew by for each of n descriptors.
func (m measured) grown(n int) float64 {
	t := manyName(n)
	return max(0, m.value(t, 0, "resident, after")-m.value(t, 0, "resident, before")) / float64(n)
}

func writeForks(w io.Writer, m measured) {
	if len(m.trials[forksName(processes[0])]) == 0 {
		return
	}
	fmt.Fprintf(w, "## Many processes, as %s\n\nTime for each child that is forked, calls fstat of a limited descriptor, and stays.\n\n"+
		"| processes | plain | limited |\n| ---: | ---: | ---: |\n", m.name)
	for _, n := range processes {
		fmt.Fprintf(w, "| %d | %s | %s |\n", n, shortly(m.forked(0, n)), shortly(m.forked(1, n)))
	}
	fmt.Fprintln(w)
}

func (m measured) forked(i, n int) float64 {
	return m.value(forksName(n), i, fmt.Sprintf("%d processes", n))
}

// targets of what was measured.
func (r *libraryResults) targets() []target {
	var out []target
	for _, m := range r.users {
		add := func(text string, got, most float64) {
			if got > 0 {
				out = append(out, target{text: fmt.Sprintf("%s, as %s", text, m.name), got: got, most: most})
			}
		}
		for _, name := range hot {
			if plain := m.value(callsTrial, columnPlain, name); plain > 0 {
				add(name+": limited to plain", m.value(callsTrial, columnAlone, name)/plain, hotMost)
			}
		}
		for _, i := range []int{columnAlone, columnMode, columnPinned} {
			m.addOpen(add, forms[i].name, i)
		}
		add("first Limit, ms", m.value(limitsTrial, 0, "first Limit")/1e6, attachMost)
		for _, name := range []string{"Limit without a filter", "Limit with a filter, 1 to 15"} {
			add(name+", µs", m.value(limitsTrial, 0, name)/1e3, limitMost)
		}
		for _, p := range pairs {
			p.add(m, add)
		}
		add("supervisor, MB", m.value(limitsTrial, 0, "resident, supervisor")/1e6, baseMost)
		most, before := descriptors[len(descriptors)-1], descriptors[len(descriptors)-2]
		add("supervisor, bytes for a limited descriptor", m.grown(most), slotMost)
		for _, name := range []string{"limit", "dup", "openat"} {
			if ns := m.value(manyName(before), 0, name); ns > 0 {
				add(fmt.Sprintf("%s: one of %d to one of %d", name, most, before), m.value(manyName(most), 0, name)/ns, growthMost)
			}
		}
		if last := len(processes) - 1; m.forked(1, processes[last-1]) > 0 {
			add(fmt.Sprintf("fork: one of %d to one of %d", processes[last], processes[last-1]),
				m.forked(1, processes[last])/m.forked(1, processes[last-1]), growthMost)
		}
	}
	// What was missed first.
	slices.SortStableFunc(out, func(a, b target) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

// addOpen adds what an openat beneath a limited directory costs in column i.
func (m measured) addOpen(add func(string, float64, float64), form string, i int) {
	plain, ours := m.value(callsTrial, 0, "openat"), m.value(callsTrial, i, "openat")
	add("openat: "+form+" over plain, µs", (ours-plain)/1e3, openMost)
}

func rank(t target) int {
	if t.met() {
		return 1
	}
	return 0
}
