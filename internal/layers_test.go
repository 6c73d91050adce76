// Package internal holds only tests of the whole tree: who imports whom, and
// the house rules that a compiler does not know.
package internal

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/capsicum-go/capsicum/"

// root is the module's own package, under the name it has in layers.
const root = "."

// layers is the table of docs/architecture.md: a package imports only from its
// own or a lower layer.
var layers = map[string]int{
	"rights":           0,
	"internal/sysno":   0,
	"internal/early":   0,
	"internal/cbpf":    0,
	"internal/request": 0,
	"internal/msghdr":  0,

	"internal/sys":      1,
	"internal/filecaps": 1,
	"internal/notify":   1,
	"internal/script":   1,

	"internal/policy":   2,
	"internal/plan":     2,
	"internal/elfdeps":  2,
	"internal/resolve":  2,
	"internal/lookup":   2,
	"internal/landlock": 2,
	"internal/nsenv":    2,
	"internal/slot":     2,
	"internal/fdtable":  2,
	"internal/procdesc": 2,
	"internal/roster":   2,

	"internal/syscalls":   3,
	"internal/supervisor": 3,
	"internal/static":     3,

	"internal/probe":   4,
	"internal/capmode": 4,

	"internal/launch": 5,
	"internal/attach": 5,

	root:           6,
	"shm":          6,
	"internal/cli": 6,
	"cmd/capsicum": 6,

	"procdesc": 7,
	"unixcap":  7,
}

// outside are trees whose packages nobody imports but each other: tests, and
// programs that write source.
var outside = []string{"test", "bench", "examples", "c", "internal/sysno", "internal/syscalls", "internal/notify/notifytest", "internal/exetest"}

type goPackage struct {
	ImportPath string
	Name       string
	Dir        string
	GoFiles    []string
	Imports    []string
}

// list asks the go command for the module's packages.
func list(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Dir,GoFiles,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		switch err := dec.Decode(&p); err {
		case nil:
			pkgs = append(pkgs, p)
		case io.EOF:
			return pkgs
		default:
			t.Fatalf("go list: %v", err)
		}
	}
}

// named returns the name in layers of a package of this module.
func named(path string) (string, bool) {
	if path+"/" == module {
		return root, true
	}
	return strings.CutPrefix(path, module)
}

func isOutside(name string) bool {
	if _, listed := layers[name]; listed {
		return false
	}
	return slices.ContainsFunc(outside, func(tree string) bool {
		return name == tree || strings.HasPrefix(name, tree+"/")
	})
}

func TestLayers(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t) {
		name, ok := named(p.ImportPath)
		if !ok || name == "internal" || isOutside(name) {
			continue
		}
		own, ok := layers[name]
		if !ok {
			t.Errorf("%s is in no layer: give it one here and in docs/architecture.md", name)
			continue
		}
		seen[name] = true
		for _, path := range p.Imports {
			imported, ok := named(path)
			if !ok {
				continue
			}
			if isOutside(imported) {
				t.Errorf("%s imports %s, which is not part of the program", name, imported)
			} else if layers[imported] > own {
				t.Errorf("%s (layer %d) imports %s (layer %d)", name, own, imported, layers[imported])
			}
		}
	}
	for name := range layers {
		if !seen[name] {
			t.Errorf("%s is in the table and not in the tree", name)
		}
	}
}
