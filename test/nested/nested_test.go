//go:build linux

// Package nested attacks the command by way of the library: a program that the command
// started confines itself, so that what it asks for is carried out by the run's
// supervisor, which Landlock and mounts hold less than the program. Whatever it is
// refused when it asks the kernel, it must be refused so, too.
//
// Each call is made on a tree under each kind of grant, first by a process that limits
// nothing, and then by ones that have their directory and files limited, or are in
// capability mode, or both.
package nested

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// ordinary is the user beside root.
const ordinary = 1500

var full = flag.Bool("nested.full", false, "try every grant as every user")

// orderEnv holds what a victim is told: how it confines itself, and the trees.
const orderEnv = "NESTED_ORDER"

// ways are how a victim confines itself.
var ways = []string{"plain", "limited", "mode", "both"}

type order struct {
	Way   string
	Trees []string // of which the first is attacked, and the second may be a target
}

func TestMain(m *testing.M) {
	if text := os.Getenv(orderEnv); text != "" {
		os.Exit(victim(text))
	}
	if text := os.Getenv(raceEnv); text != "" {
		os.Exit(race(text))
	}
	if text := os.Getenv(beneathEnv); text != "" {
		os.Exit(beneath(text))
	}
	if text := os.Getenv(lieEnv); text != "" {
		os.Exit(lie(text))
	}
	if way := os.Getenv(toldEnv); way != "" {
		os.Exit(told(way))
	}
	if way := os.Getenv(heldEnv); way != "" {
		os.Exit(holder(way))
	}
	status := m.Run()
	_ = os.RemoveAll(builtIn)
	os.Exit(status)
}

// here is where a victim makes one call.
type here struct {
	dir   int    // its directory
	path  string // and name
	other int    // another directory, and name
	there string
	file  int // files open for reading, and for writing if that may be; else -1
	wfile int
	way   string
}

// nearly are all rights but one that no call here needs: what has them is limited.
var nearly = rights.All().Minus(rights.Of(rights.SemPost))

// victim makes every call and prints what came of each.
func victim(text string) int {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	scenes := map[string]*here{}
	for i, c := range calls() {
		h := &here{way: o.Way}
		h.path, h.there = scene(o.Trees[0], o.Way, i), scene(o.Trees[1], o.Way, 0)
		if c.place != "" {
			h.path = c.place
		}
		h.dir, h.other = h.open(h.path, unix.O_DIRECTORY), h.open(h.there, unix.O_DIRECTORY)
		h.file, h.wfile = h.open(h.path+"/f", unix.O_RDONLY|unix.O_NONBLOCK), h.open(h.path+"/f", unix.O_RDWR|unix.O_NONBLOCK)
		scenes[c.name] = h
	}
	if o.Way == "mode" || o.Way == "both" {
		if err := capsicum.Enter(); err != nil {
			fmt.Fprintln(os.Stderr, "enter:", err)
			return 2
		}
	}
	out := map[string]string{}
	for _, c := range calls() {
		out[c.name] = "OK"
		if err := c.do(scenes[c.name]); err != nil {
			out[c.name] = err.Error()
		}
	}
	if sup, err := capsicum.Mode(); o.Way != "plain" && (err != nil || sup != (o.Way != "limited")) {
		fmt.Fprintln(os.Stderr, "mode:", sup, err)
		return 2
	}
	_ = json.NewEncoder(os.Stdout).Encode(out)
	return 0
}

// scene is the directory of a call.
func scene(tree, way string, call int) string { return filepath.Join(tree, way, strconv.Itoa(call)) }

// open opens a name of a scene, and limits it where the victim does so.
func (h *here) open(name string, flags int) int {
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	if h.way == "limited" || h.way == "both" {
		if err := capsicum.LimitSetFD(fd, nearly); err != nil {
			panic(fmt.Errorf("limit: %w", err))
		}
	}
	return fd
}

// grant is a kind of grant of the first tree; the second is always writable.
type grant struct {
	name string
	args func(tree string) []string
}

func flagged(flag string) grant {
	return grant{flag, func(tree string) []string { return []string{flag, tree} }}
}

// without grants everything but some rights.
func without(list string) grant {
	return grant{"rwx without " + list, func(tree string) []string {
		return []string{"--cap", tree + "=" + kept(list)}
	}}
}

// kept is what is left of a full grant.
func kept(list string) string {
	set := policyRWX()
	for name := range strings.SplitSeq(list, ",") {
		r, err := rights.Parse(name)
		if err != nil {
			panic(err)
		}
		set = set.Minus(r.Minus(rights.Of(rights.Lookup)))
	}
	return set.String()
}

// grants are all kinds.
func grants() []grant {
	list := []grant{
		flagged("--ro"), flagged("--rox"), flagged("--rw"), flagged("--rwx"),
		{"nothing", func(string) []string { return nil }},
		{"a writable tree with a part that is not", func(tree string) []string {
			return []string{"--rw", filepath.Dir(tree), "--cap", tree + "=" + policyRO().String()}
		}},
		{"look up only", func(tree string) []string { return []string{"--cap", tree + "=lookup,fstat", "--allow-weaker=fstat"} }},
	}
	for _, one := range []string{
		"read,mmap_r,mmap_w,mmap_x,fexecve,seek", "write,ftruncate", "create", "mkdirat", "mkfifoat", "symlinkat", "unlinkat",
		"renameat_source", "renameat_target", "linkat_target", "linkat_source", "ftruncate", "fchmod", "fchown", "futimes", "fexecve",
		"extattr_get", "extattr_set", "extattr_list", "extattr_delete", "inotify_add", "flock", "fstat", "fstatfs", "bindat", "connectat",
		"fchmod,fchown,futimes,ftruncate", "create,unlinkat,mkdirat",
	} {
		list = append(list, without(one))
	}
	return list
}

// few is how many grants are tried where not all are, beside every third as an ordinary
// user: root's program is held by the same rules, and only has more permissions.
const few = 7

// result is what came of each call, by way.
type result map[string]map[string]string

func TestNobodyGains(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) { nobodyGains(t, engine) })
	}
}

// engines are the command's: the library is no way around either.
var engines = []string{"namespaces", "landlock"}

func nobodyGains(t *testing.T, engine string) {
	program, exe := executables(t)
	users := []int{os.Geteuid()}
	if users[0] == 0 {
		users = append(users, ordinary)
	}
	for _, uid := range users {
		won, lost, carried := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for i, g := range grants() {
			if !*full && i >= few && (uid == 0 || i%3 != 0) {
				continue
			}
			t.Run(fmt.Sprintf("uid %d: %s", uid, g.name), func(t *testing.T) {
				got := runAll(t, []string{program, "--engine=" + engine}, exe, uid, g)
				for _, c := range calls() {
					plain := got["plain"][c.name]
					won[c.name] = won[c.name] || plain == "OK"
					lost[c.name] = lost[c.name] || plain != "OK"
					for _, way := range ways[1:] {
						if got[way][c.name] != "OK" {
							continue
						}
						carried[c.name] = true
						if plain != "OK" {
							t.Errorf("%s: %s by itself, and done for a program whose way is %q", c.name, plain, way)
						}
					}
				}
			})
		}
		for _, c := range calls() {
			switch {
			case c.only != "" && c.only != engine:
				if won[c.name] {
					t.Errorf("uid %d: %s is done", uid, c.name)
				}
			case !won[c.name] && !c.never:
				t.Errorf("uid %d: %s is never done, whatever is granted", uid, c.name)
			case won[c.name] && c.never:
				t.Errorf("uid %d: %s is done", uid, c.name)
			case !lost[c.name] && !c.always:
				t.Errorf("uid %d: %s is always done, whatever is granted", uid, c.name)
			case !carried[c.name] && !c.never && !c.alone:
				t.Errorf("uid %d: %s is never done for a program that confines itself", uid, c.name)
			}
		}
	}
}

// runAll runs the victim in each way, under one grant.
func runAll(t *testing.T, program []string, exe string, uid int, g grant) result {
	t.Helper()
	base := scratch(t, exe)
	trees := []string{filepath.Join(base, "in", "tree"), filepath.Join(base, "free")}
	for _, way := range ways {
		for i := range calls() {
			plant(t, scene(trees[0], way, i), exe)
		}
		plant(t, scene(trees[1], way, 0), exe)
	}
	plant(t, filepath.Join(base, "in", "outside"), exe)
	plant(t, filepath.Join(base, "outside"), exe)
	if uid != os.Geteuid() {
		chown(t, base, uid)
	}
	out := result{}
	for _, way := range ways {
		text, err := json.Marshal(order{Way: way, Trees: trees})
		if err != nil {
			t.Fatal(err)
		}
		args := append([]string{"--rw", trees[1], "--env", orderEnv + "=" + string(text), "--allow-weaker=fstat"}, g.args(trees[0])...)
		out[way] = run[string](t, uid, slices.Concat(program, args, []string{"--", exe}))
	}
	return out
}

// run runs a victim's command.
func run[T any](t *testing.T, uid int, argv []string) map[string]T {
	t.Helper()
	return runWith[T](t, uid, nil, argv)
}

// runWith is run with a standard input.
func runWith[T any](t *testing.T, uid int, stdin *os.File, argv []string) map[string]T {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	if stdin != nil {
		cmd.Stdin = stdin
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = as(uid)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	timer := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() }) // a machine may stand still for one
	defer timer.Stop()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, stderr.String())
	}
	got := map[string]T{}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %q\n%s", err, out, stderr.String())
	}
	return got
}

func as(uid int) *syscall.SysProcAttr {
	if uid == os.Geteuid() {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid), Groups: []uint32{}}}
}

// plant makes what calls are made on.
func plant(t *testing.T, dir, exe string) {
	t.Helper()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "d", "in"), 0o755),
		os.WriteFile(filepath.Join(dir, "f"), []byte("text"), 0o644), os.WriteFile(filepath.Join(dir, "g"), []byte("text"), 0o644),
		os.Symlink("f", filepath.Join(dir, "l")), unix.Mkfifo(filepath.Join(dir, "p"), 0o644), os.Link(exe+".static", filepath.Join(dir, "program")),
		ignoring(unix.Setxattr(filepath.Join(dir, "f"), "user.one", []byte("1"), 0), unix.EOPNOTSUPP),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func ignoring(err error, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// scratch makes a directory that every user reaches, beside exe. It is removed with that,
// and not before: after a remove ext4 takes long to find an inode for a new file.
func scratch(t *testing.T, exe string) string {
	t.Helper()
	base, err := os.MkdirTemp(filepath.Dir(exe), "nested")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	return base
}

func chown(t *testing.T, base string, uid int) {
	t.Helper()
	err := filepath.WalkDir(base, func(name string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Base(name) != "program" {
			err = os.Lchown(name, uid, uid)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// executables returns the command, and this program where every user can run it,
// with a static program beside it.
func executables(t *testing.T) (program, exe string) {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "capsicum"), filepath.Join(dir, "victim")
}

// builtIn is the directory of these, and of all that the tests make.
var builtIn string

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nested")
	if err != nil {
		return "", err
	}
	builtIn = dir
	exe := filepath.Join(dir, "victim")
	return dir, errors.Join(os.Chmod(dir, 0o755), build(filepath.Join(dir, "capsicum"), "build", "../../cmd/capsicum"),
		build(exe, "test", "."), build(exe+".static", "build", "./static"))
})

func build(out, how, what string) error {
	args := []string{how, "-o", out, what}
	if how == "test" {
		args = slices.Insert(args, 1, "-c")
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, text)
	}
	return nil
}
