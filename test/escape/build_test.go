//go:build linux && amd64

package escape

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/capsicum-go/capsicum/internal/exetest"
)

// programs are what the attacks are made of, built once.
type programs struct {
	dir      string // readable by every user
	capsicum string
	victim   string // victims/c, static
	storm    string // victims/go
	ok, bad  string // exit with 0 and with 42
	dynamic  string // exits with 42, needs its loader
	i386     string // exits with 42; "" where the compiler cannot make it
	test     string // this test, for the outside
}

// build compiles everything into a directory that ordinary users can enter,
// which the one that go test makes is not.
func build() (*programs, error) {
	dir, err := os.MkdirTemp("/tmp", "esc")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	p := &programs{dir: dir, capsicum: in("capsicum"), victim: in("victim"), storm: in("storm"),
		ok: in("ok"), bad: in("bad"), dynamic: in("dynamic"), i386: in("i386"), test: in("outside")}
	sources, err := filepath.Glob("victims/c/*.c")
	if err != nil {
		return nil, err
	}
	bare := []string{"gcc", "-O1", "-nostdlib", "-static", "victims/programs/exit.c"}
	command := []string{"go", "build", "-o", p.capsicum, "../../cmd/capsicum"}
	if *installed != "" {
		command = []string{"install", "-m", "755", *installed, p.capsicum}
	}
	steps := [][]string{
		command,
		append([]string{"gcc", "-O1", "-Wall", "-Wextra", "-Wno-format-truncation", "-Wno-unused-value",
			"-static", "-pthread", "-o", p.victim}, sources...),
		{"go", "build", "-o", p.storm, "./victims/go"},
		append(bare, "-DSTATUS=0", "-o", p.ok),
		append(bare, "-DSTATUS=42", "-o", p.bad),
		{"gcc", "-o", p.dynamic, "victims/programs/dynamic.c"},
	}
	for _, step := range steps {
		if out, err := exec.Command(step[0], step[1:]...).CombinedOutput(); err != nil {
			return p, fmt.Errorf("%s: %w\n%s", strings.Join(step, " "), err, out)
		}
	}
	if err := exec.Command("gcc", append(bare[1:], "-m32", "-DSTATUS=42", "-o", p.i386)...).Run(); err != nil {
		p.i386 = ""
	}
	return p, exetest.WriteSelf(p.test, 0o755)
}
