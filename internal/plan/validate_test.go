package plan

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

var (
	read  = rights.Of(rights.Lookup, rights.Read)
	write = read.Union(rights.Of(rights.Write))
)

func host(dest, source string, set rights.Set) Entry {
	return Entry{Dest: dest, Source: source, Kind: Dir, Rights: set, ID: ID{1, 2}, Mode: unix.S_IFDIR | 0o755, Origin: []string{"test"}}
}

// sample has one of everything.
func sample() *Plan {
	file := host("/usr/bin/x", "/usr/bin/x", write)
	file.Kind, file.Mode = File, unix.S_IFREG|0o755
	null := host("/dev/null", "/dev/null", write)
	null.Kind, null.Mode = Device, unix.S_IFCHR|0o666
	return &Plan{
		Entries: []Entry{
			null,
			{Dest: "/proc", Kind: Proc, Rights: read, Origin: []string{"proc"}},
			{Dest: "/tmp", Kind: Tmpfs, Rights: write, Origin: []string{"--tmp"}},
			host("/tmp/a/b", "/home/b", read),
			host("/usr", "/usr", read),
			file,
			host("/usr/share", "/home/share", read),
		},
		Links:   []Link{{"/bin", "usr/bin", "--system"}, {"/x/lib", "/usr/lib", "--ro /x/lib"}},
		Dirs:    []string{"/", "/dev", "/x"},
		Program: Program{Path: "/bin/x", Argv: []string{"x", "-v"}},
		Cwd:     "/",
	}
}

func TestValidate(t *testing.T) {
	if err := sample().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		spoil      func(p *Plan)
	}{
		{"relative dest", "not absolute", func(p *Plan) { p.Entries[4].Dest = "usr" }},
		{"empty dest", "empty path", func(p *Plan) { p.Entries[4].Dest = "" }},
		{"dotdot", "not clean", func(p *Plan) { p.Entries[4].Dest = "/usr/../etc" }},
		{"nul", "NUL", func(p *Plan) { p.Entries[4].Dest = "/u\x00sr" }},
		{"long name", "too long", func(p *Plan) { p.Entries[4].Dest = "/" + strings.Repeat("u", 256) }},
		{"long path", "too long", func(p *Plan) { p.Entries[4].Dest = strings.Repeat("/u", 2048) }},
		{"source dotdot", "source", func(p *Plan) { p.Entries[4].Source = "/usr/.." }},
		{"no source", "source", func(p *Plan) { p.Entries[4].Source = "" }},
		{"source of tmpfs", "no source", func(p *Plan) { p.Entries[2].Source = "/tmp" }},
		{"identity of proc", "no source", func(p *Plan) { p.Entries[1].ID.Ino = 1 }},
		{"mode of proc", "no source", func(p *Plan) { p.Entries[1].Mode = 0o40755 }},
		{"unknown kind", "unknown kind", func(p *Plan) { p.Entries[4].Kind = "overlay" }},
		{"kind and mode", "mode", func(p *Plan) { p.Entries[4].Kind = File }},
		{"link as entry", "mode", func(p *Plan) { p.Entries[4].Mode = unix.S_IFLNK | 0o777 }},
		{"mode bits", "mode", func(p *Plan) { p.Entries[4].Mode |= 1 << 20 }},
		{"no rights", "no rights", func(p *Plan) { p.Entries[4].Rights = rights.Set{} }},
		{"no origin", "no origin", func(p *Plan) { p.Entries[4].Origin = nil }},
		{"tmpfs as root", "root", func(p *Plan) { p.Entries = []Entry{{Dest: "/", Kind: Tmpfs, Rights: read, Origin: []string{"x"}}} }},
		{"file as root", "root", func(p *Plan) { e := p.Entries[5]; e.Dest = "/"; p.Entries = []Entry{e} }},
		{"order", "out of order", func(p *Plan) { slices.Reverse(p.Entries) }},
		{"twice", "there twice", func(p *Plan) { p.Entries = slices.Insert(p.Entries, 4, p.Entries[4]) }},
		{"inside file", "inside", func(p *Plan) { p.Entries = slices.Insert(p.Entries, 6, host("/usr/bin/x/y", "/y", write)) }},
		{"inside proc", "inside", func(p *Plan) { p.Entries = slices.Insert(p.Entries, 2, host("/proc/x", "/y", write)) }},
		{"adds nothing", "more rights", func(p *Plan) { p.Entries[5].Rights = read }},
		{"narrows", "more rights", func(p *Plan) { p.Entries[5].Rights = rights.Of(rights.Write) }},
		{"beneath link", "beneath the link", func(p *Plan) {
			p.Entries = slices.Insert(p.Entries, 0, host("/bin/sh", "/y", write))
			p.Dirs = p.Scaffold()
		}},
		{"link order", "out of order", func(p *Plan) { slices.Reverse(p.Links) }},
		{"link path", "link", func(p *Plan) { p.Links[0].Path = "bin" }},
		{"link at root", "link", func(p *Plan) { p.Links[0].Path = "/" }},
		{"link at entry", "same name", func(p *Plan) { p.Links[1].Path = "/usr" }},
		{"link in entry", "inside the entry", func(p *Plan) { p.Links[1].Path = "/usr/lib64" }},
		{"link in tmpfs", "inside the entry", func(p *Plan) { p.Links[1].Path = "/tmp/lib64" }},
		{"link at directory", "same name", func(p *Plan) {
			p.Links[0].Path = "/x"
			p.Links = slices.Clone(p.Links)
			slices.SortFunc(p.Links, func(a, b Link) int { return strings.Compare(a.Path, b.Path) })
		}},
		{"empty target", "target", func(p *Plan) { p.Links[0].Target = "" }},
		{"target nul", "target", func(p *Plan) { p.Links[0].Target = "a\x00b" }},
		{"link origin", "no origin", func(p *Plan) { p.Links[0].Origin = "" }},
		{"missing dir", "directories", func(p *Plan) { p.Dirs = p.Dirs[:2] }},
		{"extra dir", "directories", func(p *Plan) { p.Dirs = append(p.Dirs, "/y") }},
		{"dir in entry", "directories", func(p *Plan) { p.Dirs = []string{"/", "/dev", "/usr/new", "/x"} }},
		{"program", "program", func(p *Plan) { p.Program.Path = "x" }},
		{"no argv", "program", func(p *Plan) { p.Program.Argv = nil }},
		{"argv nul", "program", func(p *Plan) { p.Program.Argv[1] = "\x00" }},
		{"cwd", "working directory", func(p *Plan) { p.Cwd = "" }},
	} {
		p := sample()
		c.spoil(p)
		err := p.Validate()
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", c.name, err, c.want)
		}
	}
}

func TestValidateRootGrant(t *testing.T) {
	p := sample()
	p.Entries = []Entry{host("/", "/", read), {Dest: "/proc", Kind: Proc, Rights: read, Origin: []string{"proc"}}}
	p.Links, p.Dirs = nil, p.Scaffold()
	p.Dirs = nil
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	p.Dirs = []string{"/"}
	if err := p.Validate(); err == nil {
		t.Error("a directory where an entry is passes")
	}
}

func TestSameTree(t *testing.T) {
	for _, c := range []struct {
		dest, source, outerDest, outerSource string
		want                                 bool
	}{
		{"/usr/bin", "/usr/bin", "/usr", "/usr", true},
		{"/usr", "/usr", "/", "/", true},
		{"/app/bin", "/opt/x/bin", "/app", "/opt/x", true},
		{"/app/bin", "/app/bin", "/app", "/opt/x", false},
		{"/usr/bin", "/usr/sbin", "/usr", "/usr", false},
	} {
		e, outer := host(c.dest, c.source, read), host(c.outerDest, c.outerSource, read)
		if got := e.SameTree(&outer); got != c.want {
			t.Errorf("%s (%s) in %s (%s): %v", c.dest, c.source, c.outerDest, c.outerSource, got)
		}
	}
}

func TestPlanSurvivesJSON(t *testing.T) {
	data, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	var back Plan
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), &back); diff != "" {
		t.Error(diff)
	}
}

func FuzzValidate(f *testing.F) {
	data, err := json.Marshal(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Plan
		if json.Unmarshal(data, &p) != nil || p.Validate() != nil {
			return
		}
		// What an engine relies on, said in another way than Validate says it.
		for _, e := range p.Entries {
			if !strings.HasPrefix(e.Dest, "/") || strings.Contains(e.Dest, "/../") || strings.Contains(e.Dest+"/", "/./") {
				t.Errorf("passes with %q", e.Dest)
			}
			for _, l := range p.Links {
				if strings.HasPrefix(e.Dest+"/", l.Path+"/") {
					t.Errorf("passes with %q beneath the link %q", e.Dest, l.Path)
				}
			}
		}
	})
}
