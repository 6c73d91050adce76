// Package roster is what is known of confined processes from outside: which there
// are, which form each has, and what its supervisor tells of it.
//
// A supervisor listens on a socket whose name is in the network namespace where its
// program, or the run that it is in, was started, and writes an [Answer] to whoever
// connects and is the same user or root. It reads nothing, so there is nothing to send
// it.
package roster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/rights"
)

// SupervisorName is argv[0] of a process that supervises one which confines itself;
// argv[1] is that one's number.
const SupervisorName = "capsicum: supervisor of"

// Answer is what a supervisor tells.
type Answer struct {
	Served []Served
	Unborn []Unborn
	Cut    bool // there are more
}

// Served is a process that is served by a supervisor.
type Served struct {
	PID     int // where the supervisor is
	Mode    bool
	Limited []Descriptor // in order
}

// Unborn are the children of one fork of such a process, that have not asked for
// anything yet: their supervisor can't know who they are.
type Unborn struct {
	Label   uint64 // their limit of file locks
	Free    int    // with more filters than this they are in capability mode; -1: with none
	Limited []Descriptor
}

// Descriptor is a limited descriptor.
type Descriptor struct {
	FD   int
	Caps filecaps.Caps
}

// The format: a line for each thing, words between blanks, numbers as Go's strconv
// writes them.
const (
	head       = "capsicum report 1"
	maxAnswer  = 1 << 20 // bytes
	wordServed = "process"
	wordUnborn = "fork"
	wordFD     = "fd"
	wordCut    = "cut"
	wordEnd    = "end"
	allIoctls  = "all"
	noIoctls   = "none"
)

// errFormat says that an answer is none.
var errFormat = errors.New("not an answer of a supervisor")

// Bytes writes the answer as [Parse] reads it, cut to what that reads.
func (a Answer) Bytes() []byte {
	b := append([]byte(head), '\n')
	full := false
	add := func(line []byte) {
		if full = full || len(b)+len(line) > maxAnswer-len(wordCut+wordEnd)-2; !full {
			b = append(b, line...)
		}
	}
	for _, p := range a.Served {
		mode := 0
		if p.Mode {
			mode = 1
		}
		add(fmt.Appendf(nil, "%s %d %d\n", wordServed, p.PID, mode))
		for _, d := range p.Limited {
			add(d.line())
		}
	}
	for _, u := range a.Unborn {
		add(fmt.Appendf(nil, "%s %d %d\n", wordUnborn, u.Label, u.Free))
		for _, d := range u.Limited {
			add(d.line())
		}
	}
	if full || a.Cut {
		b = append(b, wordCut+"\n"...)
	}
	return append(b, wordEnd+"\n"...)
}

func (d Descriptor) line() []byte {
	words := d.Caps.Rights.Words()
	return fmt.Appendf(nil, "%s %d %x %x %x %s\n", wordFD, d.FD, words[0], words[1], uint32(d.Caps.Fcntls), ioctls(d.Caps))
}

func ioctls(c filecaps.Caps) string {
	switch {
	case !c.Listed:
		return allIoctls
	case len(c.Ioctls) == 0:
		return noIoctls
	}
	var words []string
	for _, cmd := range c.Ioctls {
		words = append(words, strconv.FormatUint(uint64(cmd), 16))
	}
	return strings.Join(words, ",")
}

// Parse reads an answer, of whoever gave it.
func Parse(text []byte) (Answer, error) {
	var a Answer
	lines := bytes.Split(text, []byte("\n"))
	if len(text) > maxAnswer || len(lines) < 3 || string(lines[0]) != head || len(lines[len(lines)-1]) != 0 ||
		string(lines[len(lines)-2]) != wordEnd {
		return Answer{}, errFormat
	}
	for _, line := range lines[1 : len(lines)-2] {
		if err := a.read(strings.Split(string(line), " ")); err != nil {
			return Answer{}, err
		}
	}
	return a, nil
}

// read adds what one line says.
func (a *Answer) read(words []string) error {
	switch {
	case a.Cut:
	case words[0] == wordCut && len(words) == 1:
		a.Cut = true
		return nil
	case words[0] == wordServed && len(words) == 3 && len(a.Unborn) == 0:
		pid, err := strconv.ParseInt(words[1], 10, 32)
		if err == nil && pid > 0 && (words[2] == "0" || words[2] == "1") {
			a.Served = append(a.Served, Served{PID: int(pid), Mode: words[2] == "1"})
			return nil
		}
	case words[0] == wordUnborn && len(words) == 3:
		label, err := strconv.ParseUint(words[1], 10, 64)
		free, ferr := strconv.ParseInt(words[2], 10, 32)
		if err == nil && ferr == nil && label > 0 && free >= -1 {
			a.Unborn = append(a.Unborn, Unborn{Label: label, Free: int(free)})
			return nil
		}
	case words[0] == wordFD && len(words) == 6:
		list := a.last()
		d, ok := parseDescriptor(words[1:])
		if ok && list != nil && (len(*list) == 0 || (*list)[len(*list)-1].FD < d.FD) {
			*list = append(*list, d)
			return nil
		}
	}
	return errFormat
}

// last returns what the last process read has limited; nil before the first.
func (a *Answer) last() *[]Descriptor {
	switch {
	case len(a.Unborn) > 0:
		return &a.Unborn[len(a.Unborn)-1].Limited
	case len(a.Served) > 0:
		return &a.Served[len(a.Served)-1].Limited
	}
	return nil
}

func parseDescriptor(words []string) (d Descriptor, ok bool) {
	fd, err := strconv.ParseInt(words[0], 10, 32)
	if err != nil || fd < 0 {
		return d, false
	}
	var numbers [3]uint64
	for i := range numbers {
		if numbers[i], err = strconv.ParseUint(words[1+i], 16, 64); err != nil {
			return d, false
		}
	}
	d.FD = int(fd)
	if d.Caps.Rights, err = rights.FromWords(numbers[:2]); err != nil || !d.Caps.Rights.IsValid() || numbers[2]&^uint64(rights.FcntlAll) != 0 {
		return d, false
	}
	d.Caps.Fcntls = rights.Fcntls(numbers[2])
	d.Caps.Ioctls, d.Caps.Listed, ok = parseIoctls(words[4])
	return d, ok
}

func parseIoctls(word string) (cmds []uint32, listed, ok bool) {
	switch word {
	case allIoctls:
		return nil, false, true
	case noIoctls:
		return nil, true, true
	}
	for cmd := range strings.SplitSeq(word, ",") {
		n, err := strconv.ParseUint(cmd, 16, 32)
		if err != nil || len(cmds) == filecaps.MaxIoctls || slices.Contains(cmds, uint32(n)) {
			return nil, true, false
		}
		cmds = append(cmds, uint32(n))
	}
	return cmds, true, true
}
