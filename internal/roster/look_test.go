package roster

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// row is a process of a made-up /proc.
type row struct {
	pid, parent, uid, filters int
	inner                     string // further numbers
	space                     string // its pid namespace
	name, argv                string // words with blanks between
	locks                     string
	exe                       string
	state                     string
}

func made(t *testing.T, rows []row) proc {
	t.Helper()
	root := t.TempDir()
	for _, r := range rows {
		dir := filepath.Join(root, strconv.Itoa(r.pid))
		if err := os.MkdirAll(filepath.Join(dir, "ns"), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := min(r.filters, 1) * 2
		r.locks, r.state = cmp.Or(r.locks, "unlimited"), cmp.Or(r.state, "S (sleeping)")
		for name, text := range map[string]string{
			"status": fmt.Sprintf("Name:\t%s\nState:\t%s\nPPid:\t%d\nUid:\t%d\t%[4]d\t%[4]d\t%[4]d\nNSpid:\t%d%s\nSeccomp:\t%d\nSeccomp_filters:\t%d\n",
				r.name, r.state, r.parent, r.uid, r.pid, r.inner, mode, r.filters),
			"cmdline": strings.ReplaceAll(r.argv, "|", "\x00") + "\x00",
			"limits":  "Limit Soft Hard\nMax file locks            " + r.locks + "            unlimited            locks\n",
			"exe":     r.exe, "maps": "00400000-00500000 r-xp 0 00:00 1 /bin/" + r.name + "\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("pid:["+r.space+"]", filepath.Join(dir, "ns/pid")); err != nil {
			t.Fatal(err)
		}
	}
	return proc(root)
}

func TestForms(t *testing.T) {
	const supervisor = SupervisorName + "|"
	root := made(t, []row{
		{pid: 1, name: "init", argv: "/sbin/init"},
		// capsicum run, whose init is a copy of it or has become the supervisor.
		{pid: 10, parent: 1, name: "capsicum", argv: "capsicum|--|a"},
		{pid: 11, parent: 10, inner: "\t1", space: "2", name: "capsicum", argv: "capsicum|--|a"},
		{pid: 12, parent: 11, inner: "\t2", space: "2", filters: 1, name: "a", argv: "a"},
		{pid: 13, parent: 12, inner: "\t3", space: "2", filters: 1, name: "b", argv: "b"},
		{pid: 20, parent: 1, name: "capsicum", argv: "/usr/bin/capsicum|--engine=landlock|--|c"},
		{pid: 21, parent: 20, name: "capsicum", argv: wrapSupervisor + "|3,4,5,6"},
		{pid: 22, parent: 21, filters: 2, name: "c", argv: "c"},
		// A shell with a child that is its copy is no sandbox.
		{pid: 30, parent: 1, name: "sh", argv: "sh"},
		{pid: 31, parent: 30, name: "sh", argv: "sh"},
		{pid: 32, parent: 31, filters: 1, name: "other", argv: "other"},
		// Who confined himself, and who is his child.
		{pid: 40, parent: 1, uid: 7, filters: 3, name: "d", argv: "d"},
		{pid: 41, parent: 1, uid: 7, name: "capsicum", argv: supervisor + "40"},
		{pid: 42, parent: 40, uid: 7, filters: 3, name: "d", argv: "d"},
		{pid: 43, parent: 1, uid: 7, filters: 3, name: "orphan", argv: "orphan", locks: "12"},
		{pid: 50, parent: 1, filters: 2, name: "static", argv: "static", exe: "ELF " + SupervisorName + " more"},
		// One who calls himself a supervisor of another user's process.
		{pid: 60, parent: 1, uid: 8, name: "capsicum", argv: supervisor + "32"},
		// In another namespace numbers mean others.
		{pid: 70, parent: 1, uid: 7, inner: "\t40", space: "3", filters: 2, name: "e", argv: "e"},
		{pid: 71, parent: 1, uid: 7, inner: "\t41", space: "3", name: "capsicum", argv: supervisor + "40"},
		{pid: 72, parent: 1, uid: 7, inner: "\t40", space: "4", filters: 2, name: "f", argv: "f"},
	})
	var pids []int
	want := map[int]string{
		1: "none 0 ", 10: "none 0 ", 11: "none 0 ", 12: "run 10 namespaces", 13: "run 10 namespaces", 20: "none 0 ", 21: "none 0 ",
		22: "run 20 landlock", 30: "none 0 ", 31: "none 0 ", 32: "unknown 0 ", 40: "supervised 41 ", 41: "none 0 ", 42: "supervised 41 ",
		43: "supervised 0 ", 50: "static 0 ", 60: "none 0 ", 70: "supervised 71 ", 72: "unknown 0 ",
	}
	for pid := range want {
		pids = append(pids, pid)
	}
	found, err := look(root, pids)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]string{}
	for _, p := range found {
		got[p.PID] = fmt.Sprintf("%s %d %s", p.Form, p.By+p.Front, p.Engine)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	confined, err := look(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	var listed []int
	for _, p := range confined {
		listed = append(listed, p.PID)
	}
	if diff := gocmp.Diff([]int{12, 13, 22, 40, 42, 43, 50, 70}, listed); diff != "" {
		t.Error(diff)
	}
	if _, err := look(root, []int{40, 999}); err == nil {
		t.Error("a process that does not exist is described")
	}
}

// TestBelieved: nobody is told of another user's process by anybody but root.
func TestBelieved(t *testing.T) {
	root := made(t, []row{
		{pid: 1, name: "init", argv: "init"},
		{pid: 5, parent: 1, uid: 7, filters: 1, name: "mine", argv: "mine"},
		{pid: 6, parent: 1, uid: 8, filters: 1, name: "yours", argv: "yours"},
		{pid: 7, parent: 1, uid: 7, name: "free", argv: "free"},
		{pid: 8, parent: 1, uid: 7, name: "capsicum", argv: "x"},
		{pid: 9, parent: 1, uid: 0, name: "capsicum", argv: "x"},
	})
	list, err := root.all()
	if err != nil {
		t.Fatal(err)
	}
	everybody := Answer{Served: []Served{{PID: 5}, {PID: 6}, {PID: 7}, {PID: 999}}}
	for by, want := range map[int][]int{8: {5}, 9: {5, 6}} {
		v := &view{root: root, list: list, told: map[int]told{}, unborn: map[int][]Unborn{}}
		v.believe(map[int]Answer{by: everybody})
		var got []int
		for _, pid := range []int{5, 6, 7, 999} {
			if _, ok := v.told[pid]; ok {
				got = append(got, pid)
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("by %d: %s", by, diff)
		}
	}
}

// TestChildren: a child that has asked for nothing is told of by the number of its
// fork, and is in capability mode if it has that filter.
func TestChildren(t *testing.T) {
	root := made(t, []row{
		{pid: 1, name: "init", argv: "init"},
		{pid: 5, parent: 1, uid: 7, filters: 3, name: "a", argv: "a", locks: "13"},
		{pid: 6, parent: 1, uid: 7, name: "capsicum", argv: SupervisorName + "|5"},
		{pid: 7, parent: 5, uid: 7, filters: 2, name: "before", argv: "b", locks: "12"},
		{pid: 8, parent: 5, uid: 7, filters: 3, name: "after", argv: "c", locks: "13"},
		{pid: 9, parent: 5, uid: 7, filters: 3, name: "of another fork", argv: "d", locks: "14"},
		{pid: 10, parent: 1, uid: 7, filters: 3, name: "orphan", argv: "e", locks: "13"},
	})
	list, err := root.all()
	if err != nil {
		t.Fatal(err)
	}
	v := &view{root: root, list: list, told: map[int]told{}, unborn: map[int][]Unborn{}}
	limited := []Descriptor{{FD: 4}}
	v.believe(map[int]Answer{6: {Served: []Served{{PID: 5, Mode: true}}, Unborn: []Unborn{
		{Label: 12, Free: 2, Limited: limited}, {Label: 13, Free: 2},
	}}})
	fd := filepath.Join(string(root), "7/fd")
	if err := os.Mkdir(fd, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/file", filepath.Join(fd, "4")); err != nil {
		t.Fatal(err)
	}
	for pid, want := range map[int]string{
		5: "supervised 6 true true 0", 7: "supervised 6 true false 1", 8: "supervised 6 true true 0",
		9: "supervised 6 false false 0", 10: "supervised 0 false false 0",
	} {
		d := v.describe(list[pid])
		if got := fmt.Sprintf("%s %d %v %v %d", d.Form, d.By, d.Told, d.Mode, len(d.Limited)); got != want {
			t.Errorf("%d: %s, want %s", pid, got, want)
		}
	}
}

// TestInRun: the supervisor of a run tells of its sandbox, and who in it is called a
// supervisor is none, also where one that it comes from has ended, or was missed.
func TestInRun(t *testing.T) {
	const liar = SupervisorName + "|"
	root := made(t, []row{
		{pid: 1, name: "init", argv: "init"},
		{pid: 10, parent: 1, uid: 7, name: "capsicum", argv: "capsicum|--|a"},
		{pid: 11, parent: 10, uid: 7, inner: "\t1", space: "2", name: "capsicum", argv: wrapSupervisor + "|3,4,5,6,0"},
		{pid: 12, parent: 11, uid: 7, inner: "\t2", space: "2", filters: 3, name: "a", argv: "a"},
		{pid: 13, parent: 12, uid: 7, inner: "\t3", space: "2", filters: 3, name: "child", argv: "b", locks: "13"},
		{pid: 14, parent: 12, uid: 7, inner: "\t4", space: "2", filters: 1, name: "other", argv: "c"},
		{pid: 15, parent: 12, uid: 7, inner: "\t5", space: "2", filters: 1, name: "liar", argv: liar + "4"},
		{pid: 16, parent: 15, uid: 7, inner: "\t6", space: "2", filters: 1, name: "liar", argv: wrapSupervisor + "|3,4,5,6,0"},
		{pid: 17, parent: 16, uid: 7, inner: "\t7", space: "2", filters: 1, name: "its child", argv: "e"},
		{pid: 20, parent: 1, uid: 7, name: "capsicum", argv: "capsicum|--engine=landlock|--|f"},
		{pid: 21, parent: 20, uid: 7, name: "capsicum", argv: wrapSupervisor + "|3,4,5,6,0"},
		{pid: 22, parent: 21, uid: 7, filters: 1, name: "f", argv: "f", state: "Z (zombie)"},
		{pid: 23, parent: 22, uid: 7, filters: 1, name: "liar", argv: liar + "30"},
		{pid: 30, parent: 1, uid: 7, filters: 1, name: "victim", argv: "g"},
		{pid: 31, parent: 1, uid: 7, name: "capsicum", argv: liar + "30"},
	})
	list, err := root.all()
	if err != nil {
		t.Fatal(err)
	}
	delete(list, 21)
	root.complete(list)
	v := &view{root: root, list: list, told: map[int]told{}, unborn: map[int][]Unborn{}, leads: map[int]int{}}
	if diff := gocmp.Diff(map[int]bool{11: true, 21: true, 31: true}, v.wanted()); diff != "" {
		t.Errorf("asked: %s", diff)
	}
	v.believe(map[int]Answer{11: {
		Served: []Served{{PID: 2, Mode: true}, {PID: 4}, {PID: 5}, {PID: 30, Mode: true}},
		Unborn: []Unborn{{Label: 13, Free: 2}},
	}})
	for pid, want := range map[int]string{
		12: "supervised 11 10 namespaces true true", 13: "supervised 11 10 namespaces true true", 14: "run 0 10 namespaces true false",
		15: "run 0 10 namespaces true false", 17: "run 0 10 namespaces false false", 23: "run 0 20 landlock false false",
		30: "supervised 31 0  false false",
	} {
		d := v.describe(list[pid])
		if got := fmt.Sprintf("%s %d %d %s %v %v", d.Form, d.By, d.Front, d.Engine, d.Told, d.Mode); got != want {
			t.Errorf("%d: %s, want %s", pid, got, want)
		}
	}
}

// TestCircle: numbers that were given to others during the look may lead nowhere.
func TestCircle(t *testing.T) {
	root := made(t, []row{
		{pid: 5, parent: 6, filters: 1, name: "a", argv: "a"}, {pid: 6, parent: 5, filters: 1, name: "b", argv: "b"},
	})
	if _, err := look(root, nil); err != nil {
		t.Error(err)
	}
}
