package roster

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/fdtable"
)

// seen is a process as /proc shows it.
type seen struct {
	pid, parent int
	inner       []int // its numbers in the namespaces that it is in, the outermost first
	uid         int
	name        string // the kernel's, of the program's file
	argv        []string
	filters     int // 1 where the kernel does not count them
	zombie      bool
}

// proc is where processes are shown; a test has its own.
type proc string

func (root proc) path(pid int, name string) string {
	return filepath.Join(string(root), strconv.Itoa(pid), name)
}

// all looks at every process that can be seen. Those that have ended may be parents
// still, if only their first thread has.
func (root proc) all() (map[int]*seen, error) {
	dir, err := os.Open(string(root))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	list := map[int]*seen{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := root.look(pid); err == nil {
			list[pid] = p
		}
	}
	root.complete(list)
	if len(list) == 0 {
		return nil, fmt.Errorf("look for processes in %s: %w", root, unix.ENOENT)
	}
	return list, nil
}

// deaths is how often a process may lose its parent while it is looked for.
const deaths = 100

// complete adds parents that were missed, and finds those of processes that have lost
// theirs meanwhile: what a process comes from says whether it is believed. Those that
// can't be seen are left.
func (root proc) complete(list map[int]*seen) {
	for _, p := range slices.Collect(maps.Values(list)) {
		for n := 0; p.parent != 0 && list[p.parent] == nil; n++ {
			parent, lost := root.look(p.parent)
			again, err := root.look(p.pid)
			if err != nil || n == deaths {
				delete(list, p.pid)
				break
			}
			if again.parent != p.parent {
				p.parent = again.parent
				continue
			}
			if lost != nil {
				break
			}
			list[parent.pid], p = parent, parent
		}
	}
}

// look looks at one process.
func (root proc) look(pid int) (*seen, error) {
	text, err := os.ReadFile(root.path(pid, "status"))
	if err != nil {
		return nil, err
	}
	p := &seen{pid: pid}
	mode, counted := 0, false
	for line := range strings.Lines(string(text)) {
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		words := strings.Fields(value)
		if len(words) == 0 {
			continue
		}
		number, _ := strconv.Atoi(words[0])
		switch field {
		case "Name":
			p.name = strings.TrimPrefix(value, "\t")
		case "State":
			p.zombie = words[0] == "Z" || words[0] == "X"
		case "PPid":
			p.parent = number
		case "Uid":
			p.uid = number
		case "NSpid":
			for _, word := range words {
				n, _ := strconv.Atoi(word)
				p.inner = append(p.inner, n)
			}
		case "Seccomp":
			mode = number
		case "Seccomp_filters": // since Linux 5.9
			p.filters, counted = number, true
		}
	}
	if mode == 2 && !counted {
		p.filters = 1
	}
	// A process that becomes another program meanwhile has no arguments.
	if text, err = os.ReadFile(root.path(pid, "cmdline")); err == nil && len(text) > 0 {
		p.argv = strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	}
	return p, nil
}

// label returns the number that the supervisor has given to the fork which a process
// comes from, or that process's last one: a limit that the kernel does not use. 0: it
// has none.
func (root proc) label(pid int) uint64 {
	text, err := os.ReadFile(root.path(pid, "limits"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Max file locks"); ok {
			words := strings.Fields(rest)
			if len(words) == 0 {
				return 0
			}
			n, _ := strconv.ParseUint(words[0], 10, 64) // "unlimited" is 0
			return n & (1<<fdtable.LabelBits - 1)       // above may be the working directory's
		}
	}
	return 0
}

// inNamespace returns who has a number in the pid namespace of another process; false
// if that can't be told.
func (root proc) inNamespace(list map[int]*seen, of *seen, number int) (*seen, bool) {
	if len(of.inner) <= 1 {
		p, ok := list[number]
		return p, ok && len(p.inner) <= 1
	}
	here, err := os.Readlink(root.path(of.pid, "ns/pid"))
	if err != nil {
		return nil, false
	}
	for _, p := range list {
		if len(p.inner) != len(of.inner) || p.inner[len(p.inner)-1] != number {
			continue
		}
		if there, err := os.Readlink(root.path(p.pid, "ns/pid")); err == nil && there == here {
			return p, true
		}
	}
	return nil, false
}

// file names what a descriptor of a process is, "" where that can't be told; false if
// it is not open.
func (root proc) file(pid, fd int) (string, bool) {
	name, err := os.Readlink(root.path(pid, "fd/"+strconv.Itoa(fd)))
	return name, !errors.Is(err, fs.ErrNotExist)
}

// maxProgram is how much of a program is looked through.
const maxProgram = 256 << 20

// hasLibrary reports whether a process runs a program that confines itself with this
// library, which can be told by a name that the library has in it.
func (root proc) hasLibrary(pid int) (bool, error) {
	maps, err := os.ReadFile(root.path(pid, "maps"))
	if err != nil {
		return false, err
	}
	if bytes.Contains(maps, []byte("/libcapsicum.so.")) {
		return true, nil
	}
	f, err := os.Open(root.path(pid, "exe"))
	if err != nil {
		return false, err
	}
	defer f.Close()
	return contains(io.LimitReader(f, maxProgram), []byte(SupervisorName))
}

// contains searches what r has for a word.
func contains(r io.Reader, word []byte) (bool, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		text, err := in.Peek(in.Size())
		if bytes.Contains(text, word) {
			return true, nil
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return false, err
		}
		if _, err := in.Discard(len(text) - len(word) + 1); err != nil {
			return false, err
		}
	}
}
