package main

import (
	"fmt"
	"os"
	"strings"
)

// workload is a program with what it needs, and how often to run it.
type workload struct {
	name  string
	note  string // for the report
	runs  int
	quick int // runs with -quick
	argv  []string
	cwd   string
	stdin string // a file
	grants
	status int     // what it ends with where a directory may not be read; 0 is fine always
	reads  bool    // its output is read through a pipe to the end
	calls  bool    // it prints "name nanoseconds" lines: the time of single calls
	many   bool    // it is about the number of grants
	target float64 // the namespaces engine's allowance over plain; 0 is none

	prepare func() error // once; as the ordinary user where it runs programs
	before  func() error // before each run, outside the time
	made    string       // a file that a run must leave behind
}

// allowance is what running under the namespaces engine may cost.
const allowance = 1.05

// workloads are all of them, made for b's directory.
func workloads(b *bed) []*workload {
	all := starts(b)
	all = append(all, manyGrants(b)...)
	all = append(all, reading(b)...)
	all = append(all, building(b)...)
	all = append(all, databases(b)...)
	return append(all, singleCalls(b))
}

func starts(b *bed) []*workload {
	return []*workload{
		{name: "start /bin/true", note: "its own files granted, nothing else; all namespaces", runs: 300, quick: 40, argv: []string{"/bin/true"}},
		{name: "start /bin/true, system", note: "--system", runs: 200, quick: 20, argv: []string{"/bin/true"}, grants: grants{system: true}},
		{name: "start python3", runs: 30, quick: 5, argv: []string{"/usr/bin/python3", "-c", "pass"}, grants: grants{system: true}},
		{name: "bash, 1,000 forks", note: "of /bin/true", runs: 10, quick: 2, target: allowance, grants: grants{system: true},
			argv: []string{"/bin/bash", "-c", "for ((i = 0; i < 1000; i++)); do /bin/true; done"}},
	}
}

// manyGrants shows what one more grant costs.
func manyGrants(b *bed) []*workload {
	var out []*workload
	for _, n := range []struct{ grants, runs, quick int }{{1, 50, 10}, {100, 30, 10}, {1000, 10, 3}, {10000, 3, 1}} {
		w := &workload{name: fmt.Sprintf("start /bin/true, %d grants", n.grants), note: "--ro of directories side by side",
			runs: n.runs, quick: n.quick, many: true, argv: []string{"/bin/true"}}
		for i := range n.grants {
			w.ro = append(w.ro, b.path("many", fmt.Sprint(i)))
		}
		w.prepare = func() error {
			for _, p := range w.ro {
				if err := os.MkdirAll(p, 0o755); err != nil {
					return fmt.Errorf("prepare: %w", err)
				}
			}
			return nil
		}
		out = append(out, w)
	}
	return out
}

func reading(b *bed) []*workload {
	repo, files := b.path("repo"), b.scaled(20000)
	return []*workload{
		{name: fmt.Sprintf("git status, %d files", files), runs: 30, quick: 5, target: allowance, cwd: repo,
			argv:   []string{"/usr/bin/git", "status", "--porcelain"},
			grants: grants{system: true, rw: []string{repo}}, reads: true, prepare: func() error { return repository(b, repo, files) }},
		{name: "find and stat /usr", runs: 15, quick: 2, target: allowance, argv: []string{"/usr/bin/find", "/usr", "-printf", "%s %m\n"}, status: 1,
			grants: grants{system: true, ro: []string{"/usr"}}, reads: true},
		{name: "tar /usr/share to /dev/null", note: "tar looks at every name, and reads no file: it knows /dev/null", runs: 15, quick: 2, target: allowance,
			status: 2, argv: []string{"/bin/tar", "--ignore-failed-read", "-cf", "/dev/null", "-C", "/usr/share", "."},
			grants: grants{system: true, ro: []string{"/usr"}}},
		{name: "tar /usr/share to a pipe", note: "every file is read", runs: 10, quick: 1, target: allowance,
			status: 2, argv: []string{"/bin/tar", "--ignore-failed-read", "-cf", "-", "-C", "/usr/share", "."},
			grants: grants{system: true, ro: []string{"/usr"}}, reads: true},
	}
}

func building(b *bed) []*workload {
	module, cold, warm := b.path("module"), b.path("cold"), b.path("warm")
	sources, objects := b.path("c"), b.path("o")
	files := b.scaled(200)
	compile := []string{"/usr/bin/gcc", "-c", "-O1"}
	for i := range files {
		compile = append(compile, fmt.Sprintf("%s/f%03d.c", sources, i))
	}
	goBuild := func(cache string) []string {
		return []string{"/usr/bin/env", "GOCACHE=" + cache, "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0",
			goCommand(), "build", "-o", module + "/out/", "./..."}
	}
	output := func() error { return b.empty("module", "out") }
	makeModule := func() error { return b.module(module) }
	return []*workload{
		{name: fmt.Sprintf("gcc, %d files", files), runs: 8, quick: 1, target: allowance, argv: compile, cwd: objects,
			grants: grants{system: true, ro: []string{sources}, rw: []string{objects, b.path("tmp")}}, prepare: func() error { return b.sources(files) },
			before: func() error { return b.empty("o") }, made: fmt.Sprintf("%s/f%03d.o", objects, files-1)},
		{name: "go build, warm cache", note: "everything is compiled, linking is left", runs: 12, quick: 2, target: allowance, argv: goBuild(warm), cwd: module,
			grants: grants{system: true, rw: []string{module, warm, b.path("tmp")}}, before: output, made: module + "/out/bench",
			prepare: func() error {
				if err := makeModule(); err != nil {
					return err
				}
				if err := b.mkdir("warm"); err != nil {
					return err
				}
				return b.do(module, goBuild(warm)...)
			}},
		{name: "go build, cold cache", note: "with the standard library", runs: 3, quick: 1, target: allowance, argv: goBuild(cold), cwd: module,
			grants:  grants{system: true, rw: []string{module, cold, b.path("tmp")}},
			prepare: makeModule,
			made:    module + "/out/bench",
			before: func() error {
				if err := output(); err != nil {
					return err
				}
				return b.empty("cold")
			}},
	}
}

func databases(b *bed) []*workload {
	db := b.path("db")
	rows, commits := b.scaled(100000), b.scaled(2000)
	fresh := func() error { return b.empty("db") }
	w := func(name, note, script string, sql func() string) *workload {
		return &workload{name: name, note: note, runs: 15, quick: 3, target: allowance, cwd: db, stdin: b.path("sql", script),
			argv: []string{"/usr/bin/sqlite3", "-batch", db + "/test.db"}, grants: grants{system: true, rw: []string{db}}, reads: true, before: fresh,
			prepare: func() error { return b.write(sql(), "sql", script) }}
	}
	return []*workload{
		w(fmt.Sprintf("sqlite3, %d inserts", rows), "WAL, one transaction", "one", func() string {
			return sqlHead + "begin;\n" + inserts(rows) + "commit;\nselect count(*) from t;\n"
		}),
		w(fmt.Sprintf("sqlite3, %d commits", commits), "WAL, synchronous=normal: locks and writes, no waiting for the disk", "each", func() string {
			return sqlHead + inserts(commits) + "select count(*) from t;\n"
		}),
	}
}

const sqlHead = "pragma journal_mode=wal;\npragma synchronous=normal;\ncreate table t(id integer primary key, name text, n int);\ncreate index i on t(name);\n"

func inserts(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "insert into t(name, n) values('name %d', %d);\n", i*7919%n, i)
	}
	return s.String()
}

func singleCalls(b *bed) *workload {
	dir := b.path("calls")
	return &workload{name: "single calls", note: "in a C program", runs: 5, quick: 1, calls: true, cwd: dir,
		argv:    []string{dir + "/victim", fmt.Sprint(b.scaled(20000)), dir + "/data", dir + "/socket"},
		grants:  grants{system: true, ro: []string{dir}, calls: []string{dir + "/socket"}},
		prepare: func() error { return b.victim(dir) }}
}
