package main

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed victim/calls.c
var victimSource string

//go:embed victim/least.c
var leastSource string

// scaled is n, or with -quick a tenth of it.
func (b *bed) scaled(n int) int {
	if b.quick {
		return n / 10
	}
	return n
}

// goCommand is the go command behind its links, so that its root is found.
func goCommand() string {
	path, err := exec.LookPath("go")
	if err != nil {
		return "/usr/local/go/bin/go"
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// empty makes a directory anew.
func (b *bed) empty(parts ...string) error {
	if err := os.RemoveAll(b.path(parts...)); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	return b.mkdir(parts...)
}

// repository makes a git repository of n committed files, a hundred a directory.
func repository(b *bed, repo string, n int) error {
	for i := range n {
		if err := b.write(fmt.Sprintf("file %d\n", i), "repo", fmt.Sprintf("d%03d", i/100), fmt.Sprintf("f%02d", i%100)); err != nil {
			return err
		}
	}
	for _, argv := range [][]string{
		{"git", "init", "-q"}, {"git", "config", "user.email", "bench@example.org"}, {"git", "config", "user.name", "bench"},
		{"git", "config", "gc.auto", "0"}, {"git", "add", "."}, {"git", "commit", "-q", "-m", "all"},
	} {
		if err := b.do(repo, argv...); err != nil {
			return err
		}
	}
	// An index as young as its files makes git read them all again.
	time.Sleep(1100 * time.Millisecond)
	return b.do(repo, "git", "update-index", "-q", "--really-refresh")
}

// module makes a Go module of ten packages that use much of the standard library.
func (b *bed) module(dir string) error {
	imports := []string{"encoding/json", "net/http", "text/template", "go/types", "encoding/xml", "archive/zip", "crypto/x509", "math/big", "regexp", "log/slog"}
	if b.quick {
		imports = []string{"strings", "sort"}
	}
	if err := b.write("module example.org/bench\n\ngo 1.24\n", "module", "go.mod"); err != nil {
		return err
	}
	var main strings.Builder
	main.WriteString("package main\n\nimport (\n")
	for i, imported := range imports {
		fmt.Fprintf(&main, "\t_ \"example.org/bench/p%d\"\n", i)
		source := fmt.Sprintf("package p%d\n\nimport _ %q\n\n// Sum adds.\nfunc Sum(n ...int) (s int) {\n\tfor _, v := range n {\n\t\ts += v\n\t}\n\treturn s\n}\n", i, imported)
		if err := b.write(source, "module", fmt.Sprintf("p%d", i), "p.go"); err != nil {
			return err
		}
	}
	main.WriteString(")\n\nfunc main() { println(\"built\") }\n")
	if err := b.write(main.String(), "module", "main.go"); err != nil {
		return err
	}
	return b.mkdir("module", "out")
}

// sources makes n C files.
func (b *bed) sources(n int) error {
	for i := range n {
		source := fmt.Sprintf("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <errno.h>\n\n"+
			"int f%d(const char *s) {\n\tchar *end;\n\tlong n = strtol(s, &end, 10);\n\tif (*end || errno) return -1;\n\tprintf(\"%%ld\\n\", n + %d);\n\treturn (int)strlen(s);\n}\n", i, i)
		if err := b.write(source, "c", fmt.Sprintf("f%03d.c", i)); err != nil {
			return err
		}
	}
	return b.mkdir("o")
}

// least compiles the tool of that name.
func (b *bed) least() error {
	if err := b.write(leastSource, "least", "least.c"); err != nil {
		return err
	}
	return b.do(b.path("least"), "gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", "least", "least.c")
}

// victim compiles the program that times its calls, and serves the socket that
// it connects to for as long as this process lives.
func (b *bed) victim(dir string) error {
	if err := b.write(victimSource, "calls", "victim.c"); err != nil {
		return err
	}
	if err := b.write("data\n", "calls", "data"); err != nil {
		return err
	}
	if err := b.do(dir, "gcc", "-O2", "-o", "victim", "victim.c"); err != nil {
		return err
	}
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return os.Chmod(filepath.Join(dir, "socket"), 0o777)
}
