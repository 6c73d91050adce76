package resolve

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/elfdeps"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/rights"
)

// makefs fills a directory: "d/" is a directory, "l => t" a link, "x*" a program
// without needs, "s! text" a file with contents that may be executed, "p|" a
// FIFO, anything else an empty file.
func makefs(t testing.TB, names ...string) *os.File {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		if err := makeOne(root, name); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func makeOne(root, name string) error {
	name, content, program := strings.Cut(name, "! ")
	name, target, link := strings.Cut(name, " => ")
	full := filepath.Join(root, strings.TrimRight(name, "/*|"))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	switch {
	case link:
		return os.Symlink(target, full)
	case program:
		return os.WriteFile(full, []byte(content), 0o755)
	case strings.HasSuffix(name, "/"):
		return os.MkdirAll(full, 0o755)
	case strings.HasSuffix(name, "*"):
		return os.WriteFile(full, staticELF(), 0o755)
	case strings.HasSuffix(name, "|"):
		return unix.Mkfifo(full, 0o644)
	}
	return os.WriteFile(full, nil, 0o644)
}

// staticELF is the beginning of a program for this machine that needs nothing.
func staticELF() []byte {
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil || len(exe) < 64 {
		panic(fmt.Sprintf("read own program: %v", err))
	}
	elf := append([]byte(nil), exe[:64+56]...)
	elf[32], elf[56], elf[57] = 64, 1, 0 // program headers follow, and there is one
	copy(elf[33:40], make([]byte, 7))
	copy(elf[64:], make([]byte, 56))
	return elf
}

// flags makes a policy of --ro, --rw … values: "ro /a:/b", and bare "tmp", "dev",
// "proc", "pty", "system", "cwd /x". The program is /p unless "run …" says.
func flags(t testing.TB, args ...string) *policy.Policy {
	t.Helper()
	p := &policy.Policy{Argv: []string{"/p"}}
	for _, arg := range args {
		flag, value, _ := strings.Cut(arg, " ")
		switch flag {
		case "tmp":
			p.Tmp = true
		case "dev":
			p.Dev = true
		case "proc":
			p.Proc = true
		case "pty":
			p.Pty = true
		case "system":
			p.System = true
		case "cwd":
			p.Cwd = value
		case "run":
			p.Argv = strings.Fields(value)
		case "env":
			p.Env = append(p.Env, value)
		case "cap":
			g, err := policy.ParseCap("--cap", value)
			if err != nil {
				t.Fatal(err)
			}
			p.Grants = append(p.Grants, g)
		default:
			i := slices.IndexFunc(policy.Sets(), func(s policy.NamedSet) bool { return s.Name == flag })
			g, err := policy.ParseGrant("--"+flag, value, policy.Sets()[i].Rights)
			if err != nil {
				t.Fatal(err)
			}
			p.Grants = append(p.Grants, g)
		}
	}
	return p
}

// closureOnly is what the program's own files have when nothing else is granted.
var closureOnly = closureRights(elfdeps.Executable)

// dump prints a plan in a line for each entry, link and directory.
func dump(p *plan.Plan) []string {
	names := map[rights.Set]string{closureOnly: "closure", tmpRights(): "tmp", deviceRights(): "device"}
	for _, s := range policy.Sets() {
		names[s.Rights] = s.Name
	}
	var lines []string
	for _, e := range p.Entries {
		name, ok := names[e.Rights]
		if !ok {
			name = e.Rights.String()
		}
		source := ""
		if e.Source != "" && e.Source != e.Dest {
			source = " = " + e.Source
		}
		lines = append(lines, fmt.Sprintf("%s%s %s %s", e.Dest, source, e.Kind, name))
	}
	for _, l := range p.Links {
		lines = append(lines, l.Path+" -> "+l.Target)
	}
	return append(lines, "dirs "+strings.Join(p.Dirs, " "))
}

func TestBuild(t *testing.T) {
	for _, c := range []struct {
		name  string
		fs    []string
		flags []string
		want  []string // without /p
	}{
		{"nothing", nil, nil, []string{"dirs /"}},
		{"one directory", []string{"a/b/f"}, []string{"ro /a/b"}, []string{"/a/b dir ro", "dirs / /a"}},
		{"relative", []string{"w/src/"}, []string{"rw src", "ro ."}, []string{"/w dir ro", "/w/src dir rw", "dirs /"}},
		{"above", []string{"w/src/", "x/"}, []string{"rw ../x"}, []string{"/x dir rw", "dirs /"}},
		{"file", []string{"a/f"}, []string{"ro /a/f"}, []string{"/a/f file ro", "dirs / /a"}},
		{"fifo", []string{"a/f|"}, []string{"rw /a/f"}, []string{"/a/f file rw", "dirs / /a"}},
		{"spelling", []string{"a/b/"}, []string{"ro //a/./b/"}, []string{"/a/b dir ro", "dirs / /a"}},
		{"link", []string{"a/", "l => a"}, []string{"ro /l"}, []string{"/a dir ro", "/l -> a", "dirs /"}},
		{"link on the way", []string{"usr/lib/x/", "lib => usr/lib"}, []string{"ro /lib/x"}, []string{"/usr/lib/x dir ro", "/lib -> usr/lib", "dirs / /usr /usr/lib"}},
		{"chain of links", []string{"d/e/f", "a => /b", "b => c/../d", "c/"}, []string{"ro /a/e"},
			[]string{"/d/e dir ro", "/a -> /b", "/b -> c/../d", "dirs / /d"}},
		{"link above the root", []string{"a/", "l => ../../../a"}, []string{"ro /l"}, []string{"/a dir ro", "/l -> ../../../a", "dirs /"}},
		{"dotdot after a link", []string{"x/y/", "x/z/", "l => x/y"}, []string{"ro /l/../z"}, []string{"/x/z dir ro", "/l -> x/y", "dirs / /x"}},
		{"optional", []string{"a/", "f"}, []string{"ro ?/nope", "ro ?/f/x", "ro ?/a"}, []string{"/a dir ro", "dirs /"}},
		{"mapped", []string{"a/b/"}, []string{"ro /a/b:/x/y"}, []string{"/x/y = /a/b dir ro", "dirs / /x"}},
		{"mapped through a link shows no link", []string{"a/b/", "l => a"}, []string{"ro /l/b:/x"}, []string{"/x = /a/b dir ro", "dirs /"}},
		{"mapped beneath a host link", []string{"usr/lib/", "lib => usr/lib", "a/"}, []string{"ro /a:/lib/x"}, []string{"/usr/lib/x = /a dir ro", "/lib -> usr/lib", "dirs / /usr /usr/lib"}},
		{"union", []string{"a/"}, []string{"ro /a", "cap /a=write", "ro /a/"}, []string{"/a dir " + policy.RO.Union(rights.Of(rights.Write)).String(), "dirs /"}},
		{"union through a link", []string{"a/", "l => a"}, []string{"ro /l", "rw /a"}, []string{"/a dir rw", "/l -> a", "dirs /"}},
		{"nested wider", []string{"a/b/"}, []string{"ro /a", "rw /a/b"}, []string{"/a dir ro", "/a/b dir rw", "dirs /"}},
		{"nested narrower goes", []string{"a/b/"}, []string{"rw /a", "ro /a/b"}, []string{"/a dir rw", "dirs /"}},
		{"nested other is the union", []string{"a/b/"}, []string{"rw /a", "rox /a/b"}, []string{"/a dir rw", "/a/b dir rwx", "dirs /"}},
		{"nested twice", []string{"a/b/c/"}, []string{"ro /a", "rw /a/b", "rox /a/b/c"}, []string{"/a dir ro", "/a/b dir rw", "/a/b/c dir rwx", "dirs /"}},
		{"nested under what went", []string{"a/b/c/"}, []string{"rw /a", "ro /a/b", "rox /a/b/c"}, []string{"/a dir rw", "/a/b/c dir rwx", "dirs /"}},
		{"name with a dash between", []string{"a/b/", "a-b/"}, []string{"ro /a", "ro /a-b", "rw /a/b"}, []string{"/a dir ro", "/a-b dir ro", "/a/b dir rw", "dirs /"}},
		{"another tree inside keeps its own rights", []string{"a/b/", "x/"}, []string{"rw /a", "ro /x:/a/b"}, []string{"/a dir rw", "/a/b = /x dir ro", "dirs /"}},
		{"another tree inside, then its part", []string{"a/b/", "x/c/"}, []string{"rwx /a", "ro /x:/a/b", "rw /x/c:/a/b/c"}, []string{"/a dir rwx", "/a/b = /x dir ro", "/a/b/c = /x/c dir rw", "dirs /"}},
		{"hidden by another tree", []string{"a/b/c/", "x/c/"}, []string{"ro /a", "ro /x:/a/b", "ro /a/b/c"}, []string{"/a dir ro", "/a/b = /x dir ro", "/a/b/c dir ro", "dirs /"}},
		{"mapped part of the same tree", []string{"a/b/"}, []string{"ro /a:/x", "rw /a/b:/x/b"}, []string{"/x = /a dir ro", "/x/b = /a/b dir rw", "dirs /"}},
		{"link in a granted tree", []string{"a/b/", "a/l => b"}, []string{"ro /a", "rw /a/l"}, []string{"/a dir ro", "/a/b dir rw", "dirs /"}},
		{"root", []string{"a/"}, []string{"ro /", "rw /a"}, []string{"/ dir ro", "/a dir rw", "dirs "}},
		{"root and private trees", []string{"tmp/", "proc/"}, []string{"ro /", "tmp", "proc"}, []string{"/ dir ro", "/proc proc ro", "/tmp tmpfs tmp", "dirs "}},
		{"inside the private tmp", []string{"a/", "tmp/x => /nope"}, []string{"tmp", "ro /a:/tmp/x/y"}, []string{"/tmp tmpfs tmp", "/tmp/x/y = /a dir ro", "dirs /"}},
		{"host tmp inside the private one", []string{"tmp/x/"}, []string{"tmp", "rw /tmp/x"}, []string{"/tmp tmpfs tmp", "/tmp/x dir rw", "dirs /"}},
		{"names that look like patterns", []string{"a*b/", "a\\x/"}, []string{"ro /a*b", `ro /a\\x`}, []string{"/a*b dir ro", `/a\x dir ro`, "dirs /"}},
		{"system", []string{"usr/bin/", "usr/lib/", "bin => usr/bin", "lib => /usr/lib", "etc/passwd", "etc/shadow", "etc/ssl/private/", "etc/ssl/certs/", "etc/localtime => ../usr/lib", "etc/python3.11/", "etc/python-secret", "home/u/", "var/"},
			[]string{"system"}, []string{"/etc/passwd file ro", "/etc/python3.11 dir ro", "/etc/ssl/certs dir ro", "/usr dir rox",
				"/bin -> usr/bin", "/etc/localtime -> ../usr/lib", "/lib -> /usr/lib", "dirs / /etc /etc/ssl"}},
		{"system with real directories", []string{"bin/", "lib/"}, []string{"system", "rw /bin"}, []string{"/bin dir rwx", "/lib dir rox", "dirs /"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := makefs(t, append(c.fs, "w/", "p*")...)
			got, err := Build(flags(t, c.flags...), Host{Root: root, Cwd: "/w"})
			if err != nil {
				t.Fatal(err)
			}
			lines := slices.DeleteFunc(dump(got), func(s string) bool { return strings.HasPrefix(s, "/p file") })
			if diff := cmp.Diff(c.want, lines); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		fs    []string
		flags []string
		want  error
		words []string
	}{
		{"missing", nil, []string{"ro /nope"}, unix.ENOENT, []string{"resolve: --ro /nope: no such file or directory", `write "?/nope" if it may be missing`}},
		{"missing on the way", []string{"a/"}, []string{"ro /a/b/c"}, unix.ENOENT, []string{"--ro /a/b/c: /a/b: no such"}},
		{"tilde", nil, []string{"ro ~/x"}, unix.ENOENT, []string{"$HOME"}},
		{"file as directory", []string{"f"}, []string{"ro /f/x"}, unix.ENOTDIR, []string{"--ro /f/x: /f:"}},
		{"file with a slash", []string{"f"}, []string{"ro /f/"}, unix.ENOTDIR, nil},
		{"dangling link", []string{"l => gone"}, []string{"ro /l"}, unix.ENOENT, []string{"--ro /l: /gone"}},
		{"circle", []string{"a => b", "b => a"}, []string{"ro /a"}, unix.ELOOP, nil},
		{"long name", nil, []string{"ro /" + strings.Repeat("x", 256)}, unix.ENAMETOOLONG, nil},
		{"two objects", []string{"a/", "b/"}, []string{"ro /a:/x", "rw /b:/x"}, ErrConflict, []string{"--ro /a:/x", "--rw /b:/x"}},
		{"two objects by name and by map", []string{"a/", "b/"}, []string{"rw /a:/b", "ro /b"}, ErrConflict, []string{"--rw /a:/b", "--ro /b"}},
		{"tmp twice", []string{"tmp/"}, []string{"tmp", "rw /tmp"}, ErrConflict, []string{"--tmp", "--rw /tmp"}},
		{"map at a link", []string{"a/", "b/", "l => a"}, []string{"ro /l", "ro /b:/l"}, ErrConflict, []string{"--ro /l", "--ro /b:/l"}},
		{"no place in the tree", []string{"a/", "b/"}, []string{"ro /a", "ro /b:/a/new"}, ErrConflict, []string{"--ro /a", "--ro /b:/a/new", "make /a/new"}},
		{"no place in a mapped tree", []string{"a/", "b/"}, []string{"rw /a:/x", "ro /b:/x/new"}, ErrConflict, []string{"make /a/new"}},
		{"directory at a file", []string{"a/f", "b/"}, []string{"ro /a", "ro /b:/a/f"}, ErrConflict, []string{"--ro /a", "--ro /b:/a/f"}},
		{"file at a directory", []string{"a/d/", "f"}, []string{"ro /a", "ro /f:/a/d"}, ErrConflict, nil},
		{"map at a link in a tree", []string{"a/d/", "a/l => d", "b/"}, []string{"ro /a", "ro /b:/a/l"}, ErrConflict, []string{"link"}},
		{"beneath a file", []string{"f", "b/"}, []string{"ro /f", "ro /b:/f/x"}, ErrConflict, []string{"--ro /f", "--ro /b:/f/x"}},
		{"inside the sandbox's proc", []string{"b/"}, []string{"proc", "ro /b:/proc/x"}, ErrConflict, []string{"proc"}},
		{"link hidden by the private tmp", []string{"a/", "tmp/l => /a"}, []string{"tmp", "ro /tmp/l"}, ErrConflict, []string{"--tmp", "--ro /tmp/l"}},
		{"link hidden by another tree", []string{"a/", "d/l => /a", "x/"}, []string{"ro /d/l", "ro /x:/d"}, ErrConflict, nil},
		{"cwd not there", []string{"a/"}, []string{"cwd /a"}, unix.ENOENT, []string{"--cwd /a", "grant it"}},
		{"cwd is a file", []string{"a"}, []string{"ro /a", "cwd /a"}, unix.ENOTDIR, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := makefs(t, append(c.fs, "w/", "p*")...)
			_, err := Build(flags(t, c.flags...), Host{Root: root, Cwd: "/w"})
			var typed *Error
			if !errors.Is(err, c.want) || !errors.As(err, &typed) || typed.Exit != ExitSetup {
				t.Fatalf("%v, want %v", err, c.want)
			}
			for _, w := range c.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

func TestHops(t *testing.T) {
	names := []string{"w/", "p*", "l0/"}
	for i := 1; i <= 41; i++ {
		names = append(names, fmt.Sprintf("l%d => l%d", i, i-1))
	}
	root := makefs(t, names...)
	if _, err := Build(flags(t, "ro /l40"), Host{Root: root, Cwd: "/w"}); err != nil {
		t.Errorf("40 links: %v", err)
	}
	if _, err := Build(flags(t, "ro /l41"), Host{Root: root, Cwd: "/w"}); !errors.Is(err, unix.ELOOP) {
		t.Errorf("41 links: %v", err)
	}
}

func TestCwd(t *testing.T) {
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{nil, "/"},
		{[]string{"ro /w"}, "/w"},
		{[]string{"ro /w:/x"}, "/"},
		{[]string{"ro /w:/x", "cwd /x/d"}, "/x/d"},
		{[]string{"ro /w", "cwd d"}, "/w/d"},
		{[]string{"ro /w", "cwd /w/l/"}, "/w/d"},
		{[]string{"ro /l"}, "/w"},
		{[]string{"ro /w/d"}, "/w"},
		{[]string{"tmp", "cwd /tmp"}, "/tmp"},
		{[]string{"ro /w/d", "cwd /w"}, "/w"},
	} {
		root := makefs(t, "w/d/", "w/l => d", "l => w", "tmp/", "p*")
		got, err := Build(flags(t, c.flags...), Host{Root: root, Cwd: "/w"})
		if err != nil || got.Cwd != c.want {
			t.Errorf("%q: %v, %v, want %s", c.flags, got, err, c.want)
		}
	}
}

func TestProgram(t *testing.T) {
	for _, c := range []struct {
		name  string
		fs    []string
		flags []string
		path  string
		argv  []string
		want  []string // entries and links
	}{
		{"path", []string{"usr/bin/x*", "bin => usr/bin"}, []string{"run x a b", "env PATH=/none:/bin"}, "/bin/x", []string{"x", "a", "b"},
			[]string{"/usr/bin/x file closure", "/bin -> usr/bin"}},
		{"default path", []string{"usr/bin/x*"}, []string{"run x"}, "/usr/bin/x", []string{"x"}, []string{"/usr/bin/x file closure"}},
		{"relative", []string{"w/x*"}, []string{"run ./x"}, "/w/x", []string{"./x"}, []string{"/w/x file closure"}},
		{"relative in path", []string{"w/b/x*"}, []string{"run x", "env PATH=b"}, "/w/b/x", []string{"x"}, []string{"/w/b/x file closure"}},
		{"above", []string{"x*"}, []string{"run ../x"}, "/x", []string{"../x"}, []string{"/x file closure"}},
		{"not executable is passed over", []string{"a/x", "b/x*", "c/x/"}, []string{"run x", "env PATH=/a:/c:/b"}, "/b/x", []string{"x"}, []string{"/b/x file closure"}},
		{"granted already", []string{"b/x*"}, []string{"run /b/x", "rox /b"}, "/b/x", []string{"/b/x"}, []string{"/b dir rox"}},
		{"granted to read", []string{"b/x*"}, []string{"run /b/x", "ro /b"}, "/b/x", []string{"/b/x"}, []string{"/b dir ro", "/b/x file rox"}},
		{"in a mapped tree", []string{"opt/x*", "app/x"}, []string{"run /app/x", "rox /opt:/app"}, "/app/x", []string{"/app/x"}, []string{"/app = /opt dir rox"}},
		{"in a mapped tree to read", []string{"opt/d/x*", "opt/l => d/x"}, []string{"run /app/l", "ro /opt:/app"}, "/app/l", []string{"/app/l"},
			[]string{"/app = /opt dir ro", "/app/d/x = /opt/d/x file rox"}},
		{"script", []string{"s! #!/b/i\n", "b/i*"}, []string{"run /s"}, "/s", []string{"/s"}, []string{"/b/i file closure", "/s file closure"}},
		{"script of a mapped interpreter", []string{"s! #!/app/i\n", "b/i*"}, []string{"run /s", "rox /b:/app"}, "/s", []string{"/s"}, []string{"/app = /b dir rox", "/s file closure"}},
		{"script without interpreter", []string{"s! echo hi\n", "bin/sh*"}, []string{"run /s a"}, "/bin/sh", []string{"/bin/sh", "/s", "a"},
			[]string{"/bin/sh file closure", "/s file closure"}},
		{"link", []string{"b/tool*", "b/x => tool"}, []string{"run /b/x"}, "/b/x", []string{"/b/x"}, []string{"/b/tool file closure", "/b/x -> tool"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := makefs(t, append(c.fs, "w/")...)
			got, err := Build(flags(t, c.flags...), Host{Root: root, Cwd: "/w"})
			if err != nil {
				t.Fatal(err)
			}
			if got.Program.Path != c.path || !slices.Equal(got.Program.Argv, c.argv) {
				t.Errorf("program %+v, want %s %q", got.Program, c.path, c.argv)
			}
			lines := dump(got)
			if diff := cmp.Diff(c.want, lines[:len(lines)-1]); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestProgramRefusals(t *testing.T) {
	foreign := string([]byte("\x7fELF\x01\x01\x01")) + strings.Repeat("\x00", 64)
	for _, c := range []struct {
		name  string
		fs    []string
		flags []string
		exit  int
		want  error
	}{
		{"not found", nil, []string{"run x", "env PATH=/a:/b"}, ExitNotFound, unix.ENOENT},
		{"no such file", nil, []string{"run /b/x"}, ExitNotFound, unix.ENOENT},
		{"in a file", []string{"b"}, []string{"run /b/x"}, ExitNotFound, unix.ENOENT},
		{"directory", []string{"b/"}, []string{"run /b"}, ExitNotExecutable, unix.EISDIR},
		{"no execute bit", []string{"b"}, []string{"run /b"}, ExitNotExecutable, unix.EACCES},
		{"no execute bit in path", []string{"b/x"}, []string{"run x", "env PATH=/b:/c"}, ExitNotExecutable, unix.EACCES},
		{"fifo", []string{"b|"}, []string{"run /b"}, ExitNotExecutable, unix.EACCES},
		{"foreign", []string{"b! " + foreign}, []string{"run /b"}, ExitNotExecutable, nil},
		{"binary rubbish", []string{"b! \x00\x01\x02"}, []string{"run /b"}, ExitNotExecutable, nil},
		{"directory as interpreter", []string{"b! #!/etc\n", "etc/"}, []string{"run /b"}, ExitNotExecutable, unix.EACCES},
		{"secret as interpreter", []string{"b! #!/etc/secret\n", "etc/secret! password\n"}, []string{"run /b"}, ExitNotExecutable, nil},
		{"hidden by a mapped tree", []string{"a/x*", "b/"}, []string{"run /a/x", "ro /b:/a"}, ExitNotFound, unix.ENOENT},
		{"empty", nil, []string{"run "}, ExitNotFound, unix.ENOENT},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := makefs(t, append(c.fs, "w/")...)
			got, err := Build(flags(t, c.flags...), Host{Root: root, Cwd: "/w"})
			var typed *Error
			if !errors.As(err, &typed) || typed.Exit != c.exit || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, %v, want exit %d and %v", got, err, c.exit, c.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	var told []string
	root := makefs(t, "w/", "s! #!/gone\n")
	if _, err := Build(flags(t, "run /s"), Host{Root: root, Cwd: "/w", Warn: func(m string) { told = append(told, m) }}); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.Contains(told[0], "/gone") {
		t.Errorf("told %q", told)
	}
}

// TestRealMachine builds plans for programs of this machine.
func TestRealMachine(t *testing.T) {
	for _, args := range [][]string{
		{"dev", "proc", "tmp", "pty", "system", "run true"},
		{"dev", "proc", "run /bin/bash"},
		{"dev", "proc", "tmp", "pty", "ro /", "run true"},
		{"ro /", "run true"},
		{"rw /dev/null", "dev", "run true"},
	} {
		var warned []string
		got, err := Build(flags(t, append(args, "env PATH=/usr/bin:/bin")...), Host{Cwd: "/", Warn: func(m string) { warned = append(warned, m) }})
		if err != nil || len(warned) > 0 {
			t.Errorf("%q: %v, %q", args, err, warned)
			continue
		}
		for _, e := range got.Entries {
			if e.Source == "" {
				continue
			}
			var st unix.Stat_t
			if err := unix.Lstat(e.Source, &st); err != nil || st.Ino != e.ID.Ino || st.Mode&unix.S_IFMT == unix.S_IFLNK {
				t.Errorf("%q: %s is not %+v: %v", args, e.Source, e.ID, err)
			}
		}
		for _, l := range got.Links {
			if target, err := os.Readlink(l.Path); l.Origin != deviceOrigin && (err != nil || target != l.Target) {
				t.Errorf("%q: %+v, but the host has %q, %v", args, l, target, err)
			}
		}
	}
}

func TestDevices(t *testing.T) {
	got, err := Build(flags(t, "dev", "proc", "pty", "run true", "env PATH=/usr/bin:/bin"), Host{Cwd: "/"})
	if err != nil {
		t.Fatal(err)
	}
	lines := dump(got)
	for _, want := range []string{"/dev/null device device", "/dev/tty device device", "/dev/pts devpts rw", "/dev/shm tmpfs rw", "/proc proc ro",
		"/dev/fd -> /proc/self/fd", "/dev/stderr -> /proc/self/fd/2", "/dev/ptmx -> pts/ptmx"} {
		if !slices.Contains(lines, want) {
			t.Errorf("%q is missing in %q", want, lines)
		}
	}
	bare, err := Build(flags(t, "run true", "env PATH=/usr/bin:/bin"), Host{Cwd: "/"})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range dump(bare) {
		if strings.HasPrefix(line, "/dev") || strings.HasPrefix(line, "/proc") {
			t.Errorf("without dev and proc there is %q", line)
		}
	}
}

// Any device serves for a terminal here: only its name matters.
func TestTerminal(t *testing.T) {
	for _, c := range []struct{ pty string }{{""}, {"pty"}} {
		args := []string{"dev", "run true", "env PATH=/usr/bin:/bin"}
		if c.pty != "" {
			args = append(args, c.pty)
		}
		got, err := Build(flags(t, args...), Host{Cwd: "/", Tty: "/dev/ptmx"})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(got.Entries, func(e plan.Entry) bool { return e.Source == "/dev/ptmx" })
		if i < 0 || got.Entries[i].Kind != plan.Device || (got.Entries[i].Dest == "/dev/console") != (c.pty != "") {
			t.Errorf("pty %q: %q", c.pty, dump(got))
		}
	}
	if _, err := Build(flags(t, "dev", "run true", "env PATH=/usr/bin:/bin"), Host{Cwd: "/", Tty: "/etc/passwd"}); err == nil {
		t.Error("a file passed for a terminal")
	}
}

func TestProcfsIsRefused(t *testing.T) {
	for _, name := range []string{"/proc", "/proc/self/root", "/proc/self/fd/0", "/dev/stdin", "/dev/fd", "/proc/cpuinfo", "/proc/../etc"} {
		_, err := Build(flags(t, "ro "+name, "run true"), Host{Cwd: "/"})
		if !errors.Is(err, ErrProcfs) || !strings.Contains(err.Error(), "--fd") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Build(flags(t, "run /proc/self/exe"), Host{Cwd: "/"}); !errors.Is(err, ErrProcfs) {
		t.Errorf("program: %v", err)
	}
	if _, err := Build(flags(t, "ro /sys", "run true"), Host{Cwd: "/"}); err != nil {
		t.Errorf("/sys: %v", err)
	}
}

// TestRootWithoutProc checks that "--ro /" alone does not show the host's /proc.
func TestRootWithoutProc(t *testing.T) {
	got, err := Build(flags(t, "ro /", "run true"), Host{Cwd: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(dump(got), "/proc tmpfs ro") {
		t.Errorf("/proc is not covered: %q", dump(got))
	}
}

func TestManyGrants(t *testing.T) {
	root := manyfs(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: min(1024, old.Cur), Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	p := manyGrants(t)
	before := descriptors(t)
	got, err := Build(p, Host{Root: root, Cwd: "/w"})
	if err != nil || len(got.Entries) != many+1 {
		t.Fatalf("%v", err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

const many = 10000

// manyfs has a hundred directories of a hundred each.
func manyfs(t testing.TB) *os.File {
	names := []string{"w/", "p*"}
	for i := range many {
		names = append(names, fmt.Sprintf("d%d/e/f%d/", i/100, i))
	}
	return makefs(t, names...)
}

func manyGrants(t testing.TB) *policy.Policy {
	var args []string
	for i := range many {
		args = append(args, fmt.Sprintf("ro /d%d/e/f%d", i/100, i))
	}
	return flags(t, args...)
}

func descriptors(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func BenchmarkManyGrants(b *testing.B) {
	root, p := manyfs(b), manyGrants(b)
	for b.Loop() {
		if _, err := Build(p, Host{Root: root, Cwd: "/w"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTrue(b *testing.B) {
	p := flags(b, "dev", "proc", "run true", "env PATH=/usr/bin:/bin")
	for b.Loop() {
		if _, err := Build(p, Host{Cwd: "/"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSystem(b *testing.B) {
	p := flags(b, "dev", "proc", "tmp", "system", "run true", "env PATH=/usr/bin:/bin")
	for b.Loop() {
		if _, err := Build(p, Host{Cwd: "/"}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestDescriptorsAreClosed checks that no outcome leaks a descriptor.
func TestDescriptorsAreClosed(t *testing.T) {
	root := makefs(t, "w/", "p*", "a/b/c/", "a/l => ../f", "f", "s! #!/p\n", "circle => circle")
	before := descriptors(t)
	for _, args := range [][]string{{"ro /a"}, {"ro /a/l"}, {"ro /nope"}, {"ro /a/b/c/d"}, {"ro /f/x"}, {"ro /circle"}, {"ro /a:/x", "ro /f:/x"}, {"run /s"}, {"run /f"},
		{"ro /a", "ro /f:/a/b"}, {"ro /a/b:/q", "run /q/nope"}, {"ro /f:/q", "cwd /q"}, {"ro /a/b/../../f/.."}} {
		_, _ = Build(flags(t, args...), Host{Root: root, Cwd: "/w"})
		if after := descriptors(t); after != before {
			t.Fatalf("%q: %d descriptors before, %d after", args, before, after)
		}
	}
}

// TestDeepPaths exhausts the walker's kept directories, so that ".." is asked of
// the kernel.
func TestDeepPaths(t *testing.T) {
	deep := strings.Repeat("d/", 300)
	root := makefs(t, "w/", "p*", deep+"e/", "x/", deep+"l => "+strings.Repeat("../", 300)+"x")
	got, err := Build(flags(t, "ro /"+deep+"l", "ro /"+deep+"e/../e/./../e"), Host{Root: root, Cwd: "/w"})
	if err != nil {
		t.Fatal(err)
	}
	var dests []string
	for _, e := range got.Entries {
		dests = append(dests, e.Dest)
	}
	if want := []string{"/" + deep + "e", "/p", "/x"}; !slices.Equal(dests, want) {
		t.Errorf("entries %q, want %q", dests, want)
	}
}

// TestAgainstKernel compares walks with the kernel's on the same names.
func TestAgainstKernel(t *testing.T) {
	root := makefs(t, "a/b/c/f", "a/l => b", "a/b/up => ..", "a/b/top => ../../..", "abs => /a/b", "f", "lf => f", "slash => a/b/", "fslash => f/", "gone => nope", "c1 => c2", "c2 => c1")
	w, err := newWalker(root)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	parts := []string{"a", "b", "c", "f", "l", "up", "top", "abs", "lf", "slash", "fslash", "gone", "c1", "..", ".", ""}
	var names []string
	for _, x := range parts {
		for _, y := range parts {
			for _, z := range parts {
				names = append(names, "/"+x+"/"+y+"/"+z, "/"+x+"/"+y, "/"+x, "/a/"+x+"/"+y+"/"+z)
			}
		}
	}
	for _, name := range names {
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
		var want unix.Stat_t
		fd, wantErr := unix.Openat2(int(root.Fd()), name, &how)
		if wantErr == nil {
			wantErr = unix.Fstat(fd, &want)
			unix.Close(fd)
		}
		obj, _, err := w.walk(name)
		switch {
		case wantErr != nil && !errors.Is(err, wantErr):
			t.Errorf("%s: %v, the kernel says %v", name, err, wantErr)
		case wantErr == nil && err != nil:
			t.Errorf("%s: %v, the kernel finds it", name, err)
		case wantErr == nil && (obj.id.Ino != want.Ino || path.Clean(obj.path) != obj.path):
			t.Errorf("%s: leads to %s, the kernel goes elsewhere", name, obj.path)
		}
		if err == nil {
			obj.close()
		}
	}
}
