package internal

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Sizes beyond which a file or a function has more than one subject.
const (
	maxFile     = 600
	maxTestFile = 1000
	maxFunction = 60
)

// bannedNames say nothing about what a package is for.
var bannedNames = []string{"util", "utils", "common", "helpers", "types", "misc", "base"}

type source struct {
	path string // from the module's root
	text []byte
	fset *token.FileSet
	file *ast.File
}

func (s source) isTest() bool {
	return strings.HasSuffix(s.path, "_test.go") || strings.HasPrefix(s.path, "test/")
}

func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

// sources parses every Go file of the module that a person wrote.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s := source{path: strings.TrimPrefix(path, "../"), text: text, fset: token.NewFileSet()}
		if s.file, err = parser.ParseFile(s.fset, path, text, parser.ParseComments); err != nil {
			return err
		}
		if !ast.IsGenerated(s.file) {
			all = append(all, s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no source found")
	}
	return all
}

// TestRawCalls keeps the calls that nobody checks in one package, where each
// handles EINTR and descriptors in the same way. FreeBSD's kernel does by itself
// what that package is for.
func TestRawCalls(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || strings.HasPrefix(s.path, "internal/sys/") || strings.HasSuffix(s.path, "_freebsd.go") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if ok && (pkg.Name == "unix" || pkg.Name == "syscall") &&
				(strings.HasPrefix(sel.Sel.Name, "Syscall") || strings.HasPrefix(sel.Sel.Name, "RawSyscall")) {
				t.Errorf("%s:%d: %s.%s outside internal/sys", s.path, s.line(n.Pos()), pkg.Name, sel.Sel.Name)
			}
			return true
		})
	}
}

func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		limit := maxFile
		if s.isTest() {
			limit = maxTestFile
		}
		if n := bytes.Count(s.text, []byte("\n")); n > limit {
			t.Errorf("%s has %d lines, more than %d", s.path, n, limit)
		}
		if s.isTest() {
			continue
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > maxFunction && !tabular(f) {
				t.Errorf("%s:%d: %s has %d lines, more than %d", s.path, s.line(f.Pos()), f.Name.Name, n, maxFunction)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for _, s := range sources(t) {
		if slices.Contains(bannedNames, s.file.Name.Name) {
			t.Errorf("%s: package %s is named after nothing", s.path, s.file.Name.Name)
		}
	}
}

// TestDocumented asks a doc comment of every exported symbol; one over a group
// of constants or variables is enough for the group.
func TestDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || s.file.Name.Name == "main" {
			continue
		}
		for _, decl := range s.file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && !obvious[d.Name.Name] {
					t.Errorf("%s:%d: %s has no doc comment", s.path, s.line(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				undocumented(t, s, d)
			}
		}
	}
}

// tabular reports whether all that f does is return a table.
func tabular(f *ast.FuncDecl) bool {
	if f.Body == nil || len(f.Body.List) != 1 {
		return false
	}
	ret, ok := f.Body.List[0].(*ast.ReturnStmt)
	if !ok || len(ret.Results) != 1 {
		return false
	}
	_, ok = ret.Results[0].(*ast.CompositeLit)
	return ok
}

// obvious are methods whose contract is their interface's.
var obvious = map[string]bool{"Error": true, "Unwrap": true, "String": true, "Is": true}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

func undocumented(t *testing.T, s source, d *ast.GenDecl) {
	if d.Doc != nil {
		return
	}
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Doc == nil && spec.Name.IsExported() {
				t.Errorf("%s:%d: %s has no doc comment", s.path, s.line(spec.Pos()), spec.Name.Name)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() && spec.Doc == nil && spec.Comment == nil {
					t.Errorf("%s:%d: %s has no doc comment", s.path, s.line(name.Pos()), name.Name)
				}
			}
		}
	}
}

// TestContinueInOnePlace keeps the answer that lets the kernel read a program's
// memory again in one function, whose callers give the reason.
func TestContinueInOnePlace(t *testing.T) {
	found := 0
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok || id.Name != "SECCOMP_USER_NOTIF_FLAG_CONTINUE" {
				return true
			}
			if found++; !strings.HasPrefix(s.path, "internal/notify/") || found > 1 {
				t.Errorf("%s:%d: a second place continues calls", s.path, s.line(id.Pos()))
			}
			return true
		})
	}
}

// TestStatic keeps out packages that have a part in C where a C compiler is
// found: with one, a plain "go install" links to the C library, which no sandbox
// has for us. A build without cgo would not show it.
func TestStatic(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if .CgoFiles}}{{.ImportPath}}{{end}}", "../cmd/capsicum")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, name := range strings.Fields(string(out)) {
		t.Errorf("cmd/capsicum depends on %s, which is partly in C", name)
	}
}

// TestDocumentsNameTests holds documents to the tests that they point to.
func TestDocumentsNameTests(t *testing.T) {
	exist := map[string]bool{}
	for _, s := range sources(t) {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				exist[f.Name.Name] = true
			}
		}
	}
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil || len(documents) == 0 {
		t.Fatalf("documents: %v, %v", documents, err)
	}
	name := regexp.MustCompile(`\bTest[A-Z][A-Za-z]+\b`)
	for _, path := range documents {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, cited := range name.FindAllString(string(text), -1) {
			if !exist[cited] {
				t.Errorf("%s names %s, which does not exist", path, cited)
			}
		}
	}
}
