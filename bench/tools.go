package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/capsicum-go/capsicum/internal/elfdeps"
)

// grants is what a workload needs, in the words of no tool in particular.
// Every tool gets a process, ipc and network namespace of its own beside it,
// a minimal /dev, a /proc of its own, and nothing else, as far as it can.
type grants struct {
	system bool     // the operating system's programs and libraries
	ro, rw []string // trees
	calls  []string // sockets that are connected to
}

// tool is one way to run a program.
type tool struct {
	name string
	wrap func(b *bed, w *workload) ([]string, error)
}

// tools in the order of the report's columns. The first is what the others
// are compared with.
var tools = []tool{
	{"plain", plain},
	{"namespaces", capsicum("namespaces")},
	{"landlock", capsicum("landlock")},
	{"bubblewrap", bubblewrap},
	{"firejail", firejail},
	{"least", least},
}

func plain(_ *bed, w *workload) ([]string, error) {
	path, err := exec.LookPath(w.argv[0])
	return append([]string{path}, w.argv[1:]...), err
}

// least hides nothing and refuses nothing: nobody who makes namespaces and has
// Landlock rules and a filter takes less time.
func least(b *bed, w *workload) ([]string, error) {
	argv, err := plain(b, w)
	return append([]string{b.path("least", "least")}, argv...), err
}

func capsicum(engine string) func(*bed, *workload) ([]string, error) {
	return func(b *bed, w *workload) ([]string, error) {
		argv := []string{b.bin, "run", "--engine=" + engine}
		if w.grants.system {
			argv = append(argv, "--system")
		}
		for _, p := range w.grants.ro {
			argv = append(argv, "--ro", p)
		}
		for _, p := range w.grants.rw {
			argv = append(argv, "--rw", p)
		}
		for _, p := range w.grants.calls {
			argv = append(argv, "--cap", p+"=lookup,connectat")
		}
		for _, kv := range b.env {
			argv = append(argv, "--env", kv)
		}
		return append(append(argv, "--"), w.argv...), nil
	}
}

func bubblewrap(_ *bed, w *workload) ([]string, error) {
	path, err := exec.LookPath("bwrap")
	if err != nil {
		return nil, err
	}
	argv := []string{path, "--unshare-all", "--die-with-parent", "--dev", "/dev", "--proc", "/proc"}
	if w.grants.system {
		argv = append(argv, bubblewrapSystem()...)
	} else {
		files, err := closure(w.argv[0])
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			argv = append(argv, "--ro-bind", f, f)
		}
	}
	for _, p := range w.grants.ro {
		argv = append(argv, "--ro-bind", p, p)
	}
	for _, p := range append(w.grants.rw, w.grants.calls...) {
		argv = append(argv, "--bind", p, p)
	}
	return append(append(argv, "--"), w.argv...), nil
}

// bubblewrapSystem shows the system's directories, as links where they are.
func bubblewrapSystem() []string {
	argv := []string{"--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc"}
	for _, p := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if target, err := os.Readlink(p); err == nil {
			argv = append(argv, "--symlink", target, p)
		} else if _, err := os.Stat(p); err == nil {
			argv = append(argv, "--ro-bind", p, p)
		}
	}
	return argv
}

// closure is what a program needs to start, found as capsicum finds it, so
// that both mount the same files.
func closure(program string) ([]string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	result, err := elfdeps.Closure(path, elfdeps.Env{}, hostFiles{})
	if err != nil {
		return nil, fmt.Errorf("find what %s needs: %w", program, err)
	}
	var files []string
	for _, f := range result.Files {
		files = append(files, f.Path)
	}
	return files, nil
}

// hostFiles opens names as this process sees them.
type hostFiles struct{}

func (hostFiles) Open(name string) (*elfdeps.Opened, error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(real)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	o := &elfdeps.Opened{Close: f.Close, Mode: uint32(info.Mode().Perm()), Real: real}
	if info.Mode().IsRegular() {
		o.R, o.Mode = f, o.Mode|0o100000
	}
	return o, nil
}

// firejail can not hide the whole host without a profile; it makes it read-only
// and opens what is granted for writing.
func firejail(b *bed, w *workload) ([]string, error) {
	path, err := exec.LookPath("firejail")
	if err != nil {
		return nil, err
	}
	argv := []string{path, "--noprofile", "--quiet", "--net=none", "--ipc-namespace", "--private-dev", "--read-only=/"}
	for _, p := range w.grants.rw {
		argv = append(argv, "--read-write="+p)
	}
	if w.many {
		return nil, fmt.Errorf("has no list of granted trees without a profile: %w", exec.ErrNotFound)
	}
	return append(append(argv, "--"), w.argv...), nil
}
