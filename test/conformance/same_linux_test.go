package conformance

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/capsicum-go/capsicum/internal/exetest"
)

// columnsOfC lists the columns of the C library: beside the Go package's, which are
// what it is compared with, samples as root. Threads are for the full run.
func columnsOfC() []column {
	var list []column
	for _, c := range columns() {
		if *full || !c.threads {
			list = append(list, c)
		}
	}
	if !*full && os.Geteuid() == 0 {
		list = append(list, column{name: "root, alone", sample: true}, column{name: "root, static", sample: true, static: true})
	}
	for i := range list {
		list[i].c, list[i].name = true, "C, "+list[i].name
	}
	return list
}

// TestConformanceOfC runs the cases with the C library: in processes of this test,
// built once more with it. The table is the Go package's, and where that leaves a
// choice both libraries must make the same.
func TestConformanceOfC(t *testing.T) {
	if _, err := os.Stat("../../c/Makefile"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this program has been taken away from the sources of the C library")
	}
	exe := executableOfC(t)
	list := columnsOfC()
	conform(t, exe, list)
	for _, col := range list {
		t.Run("as Go: "+col.name, func(t *testing.T) { compare(t, col) })
	}
}

// executableOfC builds the C library, the supervisor that it starts, and this program
// with it, where every user can run them.
func executableOfC(t *testing.T) string {
	t.Helper()
	exe := exetest.Self(t)
	dir := filepath.Dir(exe)
	program, lib := filepath.Join(dir, "capsicum"), filepath.Join(dir, "lib")
	build(t, "CGO_ENABLED=0", "go", "build", "-o", program, "../../cmd/capsicum")
	build(t, "CGO_ENABLED=1", "make", "-s", "-C", "../../c", "-j2", "O="+lib, "PREFIX="+dir, "PROGRAM="+program)
	// As a flag of the linker the library's place is no part of what is compiled.
	build(t, "CGO_ENABLED=1", "go", "test", "-c", "-tags", "clibrary", "-o", exe,
		"-ldflags", "-linkmode=external -extldflags="+filepath.Join(lib, "libcapsicum.a"), ".")
	// The environment could name another supervisor.
	t.Setenv("CAPSICUM_SUPERVISOR", program)
	return exe
}

func build(t *testing.T, env, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// compare holds the outcomes in a column against the Go package's, which it makes for
// a column that nobody has asked for.
func compare(t *testing.T, col column) {
	same := col
	same.c, same.name = false, col.name[len("C, "):]
	gos, ok := outcomes[same.name]
	if !ok {
		gos = runCases(t, exetest.Self(t), same, selected(same))
	}
	for _, c := range selected(col) {
		if inexact(c, col) != inexact(c, same) {
			continue
		}
		if got, want := outcomes[col.name][c.Name].Outcome, gos[c.Name].Outcome; got != want {
			t.Errorf("%s: with the C library %s, with the Go package %s", c.Name, got, want)
		}
	}
}
