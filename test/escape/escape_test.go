//go:build linux && amd64

// Package escape attacks the command. Each attack of docs/threat-model.md is a
// victim program that tries, under both engines, as root and as an ordinary
// user, what the sandbox must prevent. The same victim first runs unconfined,
// where it must succeed: otherwise its failure inside would prove nothing.
//
//	go test ./test/escape                          each race takes 0.6 s
//	go test ./test/escape -escape.duration=60s     each race takes a minute
package escape

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

var (
	duration  = flag.Duration("escape.duration", 600*time.Millisecond, "how long each race goes on")
	library   = flag.Bool("escape.library", false, "attack runs whose programs may confine themselves (--capsicum)")
	installed = flag.String("escape.capsicum", "", "attack this command instead of the one in this source")
)

var built *programs

func TestMain(m *testing.M) {
	if tree := os.Getenv(outsideEnv); tree != "" {
		if err := runOutside(tree); err != nil {
			fmt.Fprintf(os.Stderr, "outside: %v\n", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if built, err = build(); err != nil {
		fmt.Fprintf(os.Stderr, "escape: %v\n", err)
		return 1
	}
	defer os.RemoveAll(built.dir)
	code := m.Run()
	verdicts.print(os.Stdout)
	return code
}

// long reports whether this is the long form.
func long() bool { return *duration >= 30*time.Second }

// users returns who attacks: root and an ordinary user where we may choose.
func users() []int {
	if os.Geteuid() == 0 {
		return []int{0, ordinary}
	}
	return []int{os.Geteuid()}
}

// engines are the ones every attack is made under.
var engines = []string{"namespaces", "landlock"}

// TestAttacks makes every attack of the table.
func TestAttacks(t *testing.T) {
	for _, a := range attacks {
		t.Run(fmt.Sprintf("%02d-%s", a.row, a.name), func(t *testing.T) {
			if *library && a.restarts {
				t.Skip("a call that asks ends with EINTR where a handler does not restart it; see docs/capability-mode.md")
			}
			if !a.alone {
				t.Parallel()
			}
			for _, uid := range users() {
				if a.only != "" && a.only != userName(uid) {
					continue
				}
				a.as(t, uid)
			}
		})
	}
}

func userName(uid int) string {
	if uid == 0 {
		return "root"
	}
	return "user"
}
