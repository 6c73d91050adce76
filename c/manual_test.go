package c

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// prototypes returns what a header declares, by name, without the blanks that differ
// between the ways to write it. Names that begin with _ are nobody's to call.
func prototypes(t *testing.T, header string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(header)
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(string(text), "")
	code = regexp.MustCompile(`(?m)^#.*(\\\n.*)*$`).ReplaceAllString(code, "")
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][\w \n]*[ *])([a-z]\w*)\(([^;{}]*)\)\s*;`).FindAllStringSubmatch(code, -1) {
		found[m[2]] = squeezed(m[1] + m[2] + "(" + m[3] + ")")
	}
	return found
}

func squeezed(s string) string {
	return regexp.MustCompile(`\s*([*(,])\s*`).ReplaceAllString(strings.Join(strings.Fields(s), " "), "$1")
}

// synopsis is what a page's synopsis says.
type synopsis struct {
	headers    []string
	prototypes map[string]string
	named      []string // in its first section
}

func readSynopsis(t *testing.T, page string) synopsis {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	s, section, result := synopsis{prototypes: map[string]string{}}, "", ""
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == ".Sh":
			section = rest
		case section == "NAME" && word == ".Nm":
			s.named = append(s.named, strings.Fields(rest)[0])
		case section != "SYNOPSIS":
		case word == ".In":
			s.headers = append(s.headers, rest)
		case word == ".Ft":
			result = strings.Trim(rest, `"`)
		case word == ".Fn":
			name, rest, _ := strings.Cut(rest, " ")
			arguments := regexp.MustCompile(`"\s+"`).Split(strings.Trim(rest, `"`), -1)
			s.prototypes[name] = squeezed(result + " " + name + "(" + strings.Join(arguments, ", ") + ")")
		}
	}
	return s
}

func manuals(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("man/*.[0-9]")
	if err != nil || len(pages) < 5 {
		t.Fatalf("pages: %v, %v", pages, err)
	}
	return pages
}

// TestManualsKnowEveryFunction: what a header declares has a page, and a page's
// synopsis is what the header declares.
func TestManualsKnowEveryFunction(t *testing.T) {
	headers, declared := map[string]map[string]string{}, 0
	for _, dir := range []string{"include", "compat/include"} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				headers[strings.TrimPrefix(path, dir+"/")] = prototypes(t, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	documented := map[string]string{}
	for _, page := range manuals(t) {
		s := readSynopsis(t, page)
		for name, prototype := range s.prototypes {
			documented[name] = page
			found := ""
			for _, header := range s.headers {
				if p := headers[header][name]; p != "" {
					found = p
				}
			}
			if found != prototype {
				t.Errorf("%s: %s; %v: %s", page, prototype, s.headers, found)
			}
			if !strings.Contains(" "+strings.Join(s.named, " ")+" ", " "+name+" ") {
				t.Errorf("%s does not name %s", page, name)
			}
		}
	}
	for header, functions := range headers {
		for name := range functions {
			declared++
			if documented[name] == "" {
				t.Errorf("%s of %s is in no page", name, header)
			}
		}
	}
	if declared < 30 {
		t.Errorf("only %d functions found", declared)
	}
}

// TestManualsAreClean has both of the programs that format pages find nothing to say,
// and every page that is referred to, and is ours, exist.
func TestManualsAreClean(t *testing.T) {
	reference := regexp.MustCompile(`(?m)^\.Xr ((?:cap_|caph_|capsicum|rights)\w*) (\d)`)
	pages := append(manuals(t), "../docs/man/capsicum.1")
	for _, page := range pages {
		if out := command(t, nil, "mandoc", "-Tlint", "-W", "warning", page); len(out) != 0 {
			t.Errorf("%s", out)
		}
		if out := command(t, nil, "sh", "-c", "groff -ww -mandoc -Tutf8 "+page+" 2>&1 >/dev/null"); len(out) != 0 {
			t.Errorf("%s: %s", page, out)
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reference.FindAllStringSubmatch(string(text), -1) {
			dir := "man"
			if m[2] == "1" {
				dir = "../docs/man"
			}
			if _, err := os.Stat(filepath.Join(dir, m[1]+"."+m[2])); err != nil {
				t.Errorf("%s refers to %s(%s): %v", page, m[1], m[2], err)
			}
		}
	}
}

// TestManualsAreInstalled shows the page of every name.
func TestManualsAreInstalled(t *testing.T) {
	lib, dest := t.TempDir(), t.TempDir()
	command(t, nil, "make", "-s", "O="+lib, "PREFIX=/opt/c", "DESTDIR="+dest, "CC=gcc", "install")
	root := filepath.Join(dest, "opt/c/share/man")
	names := []string{"capsicum.4", "rights.4", "SHM_ANON.3",
		// As FreeBSD's manuals name them.
		"cap_enter.2", "cap_getmode.2", "cap_rights_limit.2", "cap_rights_get.2", "cap_ioctls_limit.2", "cap_ioctls_get.2",
		"cap_fcntls_limit.2", "cap_fcntls_get.2", "pdfork.2", "pdgetpid.2", "pdkill.2", "pdwait.2", "pdwait4.2"}
	for _, page := range manuals(t) {
		for _, name := range readSynopsis(t, page).named {
			names = append(names, name+filepath.Ext(page))
		}
	}
	if len(names) < 35 {
		t.Errorf("only %v", names)
	}
	if _, err := os.Stat(filepath.Join(root, "man2/shm_open.2")); err == nil {
		t.Error("shm_open(2) hides the system's shm_open(3)")
	}
	if out := string(command(t, nil, "man", "-M", root, "4", "procdesc")); !strings.Contains(out, "pdfork") {
		t.Errorf("procdesc(4) shows %.200q", out)
	}
	for _, name := range names {
		section := strings.TrimPrefix(filepath.Ext(name), ".")
		out := string(command(t, nil, "man", "-M", root, section, strings.TrimSuffix(name, filepath.Ext(name))))
		if want := strings.TrimSuffix(name, filepath.Ext(name)); !strings.Contains(out, want) || !strings.Contains(out, "DESCRIPTION") {
			t.Errorf("man %s %s shows %s", section, name, fmt.Sprintf("%.200q", out))
		}
	}
}
