package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capsicum-go/capsicum/internal/launch"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/rights"
)

func TestMain(m *testing.M) {
	launch.Stage()
	os.Exit(m.Run())
}

// read reads a command line as Main does.
func read(args ...string) (command, string, error) {
	v, c, err := parse(canonical(args))
	if err != nil {
		return nil, "", err
	}
	return c, v.name, nil
}

// readRun is read for a line that runs a program.
func readRun(t *testing.T, args ...string) *runCmd {
	t.Helper()
	c, _, err := read(args...)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*runCmd)
}

// TestProgramWords: where the grants end, the program begins, and every word
// after that is its own.
func TestProgramWords(t *testing.T) {
	t.Setenv("SHELL", "/bin/shell")
	for _, tt := range []struct {
		args, want string
	}{
		{"", "/bin/shell"},
		{"run", "/bin/shell"},
		{"--", "/bin/shell"},
		{"--ro /etc --", "/bin/shell"},
		{"cat x", "cat x"},
		{"-- cat x", "cat x"},
		{"run cat x", "cat x"},
		{"run -- cat x", "cat x"},
		{"--ro /etc cat -n x", "cat -n x"},
		{"--ro /etc -- cat -n x", "cat -n x"},
		{"--ro=/etc -- cat -- x", "cat -- x"},
		{"cat -- --ro x", "cat -- --ro x"},
		{"cat --ro x -- y", "cat --ro x -- y"},
		{"cat --help", "cat --help"},
		{"-- --odd", "--odd"},
		{"-- doctor --json", "doctor --json"},
		{"run doctor", "doctor"},
		{"--net doctor", "doctor"},
		{"run run", "run"},
		{"run -- -- x", "-- x"},
	} {
		c, name, err := read(strings.Fields(tt.args)...)
		if err != nil || name != "run" {
			t.Errorf("%q: command %q, %v", tt.args, name, err)
			continue
		}
		if got := strings.Join(program(c.said().words), " "); got != tt.want {
			t.Errorf("%q runs %q, want %q", tt.args, got, tt.want)
		}
	}
}

func TestCommandWords(t *testing.T) {
	for args, want := range map[string]string{
		"doctor": "doctor", "doctor --json": "doctor", "rights read": "rights", "help run": "help",
		"-h": "help", "--help": "help", "--version": "version", "version": "version",
	} {
		if _, name, err := read(strings.Fields(args)...); err != nil || name != want {
			t.Errorf("%q: command %q, %v; want %q", args, name, err, want)
		}
	}
}

func TestPolicy(t *testing.T) {
	c := readRun(t, "--ro", "/a,b", "--rw", "/c", "--rox", "?/d:/e", "--rwx", "/f", "--cap", "/g=read,lookup",
		"--system", "--tmp", "--no-dev", "--no-proc", "--pty", "--net", "--env", "A=b", "--clear-env", "--cwd", "/c",
		"--hostname", "h", "--limit", "files=9", "--linger", "--engine", "landlock", "--allow-weaker", "hostname", "--", "prog", "arg")
	got, err := c.policy([]string{"PATH=/bin"})
	if err != nil {
		t.Fatal(err)
	}
	want := &policy.Policy{
		Argv: []string{"prog", "arg"},
		Grants: []policy.Grant{
			{Flag: "--ro /a,b", Source: "/a,b", Dest: "/a,b", Rights: policy.RO},
			{Flag: "--rox ?/d:/e", Source: "/d", Dest: "/e", Rights: policy.ROX, Optional: true},
			{Flag: "--rw /c", Source: "/c", Dest: "/c", Rights: policy.RW},
			{Flag: "--rwx /f", Source: "/f", Dest: "/f", Rights: policy.RWX},
			{Flag: "--cap /g=read,lookup", Source: "/g", Dest: "/g", Rights: rights.Of(rights.Read, rights.Lookup)},
		},
		System: true, Tmp: true, Pty: true, Net: true, Env: []string{"A=b"}, Cwd: "/c", Hostname: "h",
		Limits: []policy.Limit{{Flag: "--limit files=9", Resource: "files", Value: 9}}, Linger: true,
		Engine: policy.EngineLandlock, AllowWeaker: []string{"hostname"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	got, err = readRun(t).policy(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Dev || !got.Proc || got.Net || got.System || got.Linger || len(got.Grants) != 0 || got.Engine != policy.EngineAuto {
		t.Errorf("without a flag: %+v", got)
	}
}

// TestRefusedWords: what does not parse ends with 125 and one line on stderr.
func TestRefusedWords(t *testing.T) {
	for _, args := range []string{
		"--nonesuch", "--ro", "--engine=none x", "--json x", "--fd 900 x", "--fd x y", "--limit mem x", "--cap /x y",
		"--cap /x=reed y", "--env = y", "--allow-weaker=all y", "--status-fd -1 y", "--status-fd 900 y",
		"doctor extra", "rights reed", "help nonesuch", "version extra",
	} {
		var out, errs bytes.Buffer
		status := Main(strings.Fields(args), Streams{&out, &errs})
		text := errs.String()
		if status != exitRefused || out.Len() != 0 || !strings.HasPrefix(text, "capsicum: ") || strings.Count(text, "\n") != 1 {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, out.String(), text)
		}
	}
}

// TestDocumented holds the man page and the completions to the grammar: every
// flag is there, and nothing else is.
func TestDocumented(t *testing.T) {
	flags := map[string]bool{"help": true}
	for i := range verbs {
		g, err := verbs[i].grammar(verbs[i].make())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range documented(g) {
			flags[o.LongName] = true
			if o.Description == "" || o.Field().Tag.Get("in") == "" {
				t.Errorf("--%s has no help", o.LongName)
			}
		}
	}
	for file, flagIn := range map[string]*regexp.Regexp{
		"docs/man/capsicum.1":       regexp.MustCompile(`(?m)Fl -([a-z][a-z-]+)`),
		"completions/capsicum.bash": regexp.MustCompile(`--([a-z][a-z-]+)`),
		"completions/_capsicum":     regexp.MustCompile(`'\*?--([a-z][a-z-]+)\[`),
		"completions/capsicum.fish": regexp.MustCompile(` -l ([a-z][a-z-]+)`),
	} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, m := range flagIn.FindAllStringSubmatch(string(text), -1) {
			there[m[1]] = true
		}
		for name := range flags {
			if !there[name] {
				t.Errorf("%s does not know --%s", file, name)
			}
		}
		for name := range there {
			if !flags[name] {
				t.Errorf("%s has --%s, which is no flag", file, name)
			}
		}
	}
}

// TestLossesCompleted: the shells that can not ask us know every loss that is
// not the loss of one right.
func TestLossesCompleted(t *testing.T) {
	var names []string
	for _, loss := range policy.WeakerNames() {
		if _, err := rights.ParseRight(loss.Name); err != nil {
			names = append(names, loss.Name)
		}
	}
	for _, file := range []string{"completions/_capsicum", "completions/capsicum.fish"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), strings.Join(names, " ")) {
			t.Errorf("%s does not list %s", file, strings.Join(names, " "))
		}
	}
}

func TestVersionInChangelog(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "## "+Version) {
		t.Errorf("CHANGELOG.md has no section %s", Version)
	}
}

// TestShown: a name that acts on a terminal is quoted, others are left alone.
func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"/plain/näme x": "/plain/näme x", "a\x1b[2Jb": `"a\x1b[2Jb"`, "a\nb": `"a\nb"`, "a\tb": `"a\tb"`, "\xff": `"\xff"`,
	} {
		if got := shown(in); got != want {
			t.Errorf("shown(%q) = %s, want %s", in, got, want)
		}
	}
	if got := quoted([]string{"a", "b c", "it's", "", "$x", "\x1b"}); got != `a 'b c' 'it'\''s' '' '$x' "\x1b"` {
		t.Errorf("quoted: %s", got)
	}
}

func TestDryRun(t *testing.T) {
	p := &policy.Policy{Env: []string{"B=2", "A=1"}, Net: true, Linger: true, Hostname: "h",
		FDs:    []policy.FD{{Flag: "--fd 7", Num: 7}},
		Limits: []policy.Limit{{Flag: "--limit mem=1", Resource: "mem", Value: 1}}}
	pl := &plan.Plan{
		Entries: []plan.Entry{
			{Dest: "/a", Source: "/a", Kind: plan.Dir, Rights: policy.RO, Origin: []string{"--ro /a", "--system"}},
			{Dest: "/e\x1b", Source: "/s", Kind: plan.File, Rights: rights.Of(rights.Read), Origin: []string{"--cap /s"}},
			{Dest: "/tmp", Kind: plan.Tmpfs, Rights: policy.RW, Origin: []string{"--tmp"}},
		},
		Links: []plan.Link{{Path: "/l", Target: "a", Origin: "--ro /l"}}, Dirs: []string{"/"},
		Program: plan.Program{Path: "/bin/x", Argv: []string{"x", "y z"}}, Cwd: "/a",
	}
	c := launch.Choice{Engine: policy.EngineLandlock,
		Lines:  []launch.Enforced{{What: "/a", By: []string{"mount", "landlock"}}, {What: "/tmp", By: []string{"mount"}}},
		Losses: []launch.Loss{{Name: "pty", What: "--pty", Why: "because"}}}
	var out bytes.Buffer
	if err := newDryRun(p, pl, c).print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^/a +=  +dir +ro +--ro /a, --system +mount, landlock$`,
		`(?m)^"/e\\x1b" +/s +file +read +`,
		`(?m)^/tmp +- +tmpfs +rw +--tmp +mount$`,
		`(?m)^link +/l -> a +\(--ro /l\)$`,
		`(?m)^arguments +x 'y z'$`,
		`(?m)^environment +A=1\nenvironment +B=2$`,
		`(?m)^descriptor +7$`,
		`(?m)^network +host$`,
		`(?m)^hostname +h$`,
		`(?m)^limit +mem=1$`,
		`(?m)^linger `,
		`(?m)^engine +landlock$`,
		`(?m)^weaker +pty +--pty: because$`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no line like %s in\n%s", want, &out)
		}
	}
	out.Reset()
	if err := writeJSON(&out, newDryRun(p, pl, c)); err != nil {
		t.Fatal(err)
	}
	var back dryRun
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if back.Schema != planSchema || len(back.Entries) != 3 || back.Entries[0].Set != "ro" || back.Entries[1].Set != "" ||
		back.Entries[1].Dest != "/e\x1b" || !back.Entries[2].Rights.Equal(policy.RW) || back.Network != "host" {
		t.Errorf("JSON says %+v", back)
	}
}

func TestWrap(t *testing.T) {
	text := "one two three four five six seven"
	for width := 5; width < 40; width++ {
		lines := wrap(text, width)
		if strings.Join(lines, " ") != text {
			t.Errorf("width %d loses words: %q", width, lines)
		}
		if slices.ContainsFunc(lines, func(l string) bool { return len(l) > width }) {
			t.Errorf("width %d: %q", width, lines)
		}
	}
}
