package cli

import (
	"bytes"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// flagsOf is what a run's line says, without its program: the flags that are
// not as they were.
func flagsOf(c *runCmd) map[string]any {
	said := map[string]any{}
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if name, ok := field.Tag.Lookup("long"); ok && !v.Field(i).IsZero() && !(v.Field(i).Kind() == reflect.Slice && v.Field(i).Len() == 0) {
			said[name] = v.Field(i).Interface()
		}
	}
	if said["engine"] == "auto" {
		delete(said, "engine")
	}
	return said
}

// TestOddLines: what a flag takes for its value, and what begins the program.
func TestOddLines(t *testing.T) {
	type flags = map[string]any
	for _, tt := range []struct {
		args  []string
		flags flags
		words []string
	}{
		// A value is whatever follows, except what looks like a flag.
		{[]string{"--ro", "", "x"}, flags{"ro": []string{""}}, []string{"x"}},
		{[]string{"--ro=", "x"}, flags{"ro": []string{""}}, []string{"x"}},
		{[]string{"--ro", "-", "x"}, flags{"ro": []string{"-"}}, []string{"x"}},
		{[]string{"--ro", "run", "x"}, flags{"ro": []string{"run"}}, []string{"x"}},
		{[]string{"--env", "A=-b", "x"}, flags{"env": []string{"A=-b"}}, []string{"x"}},
		{[]string{"--ro=-x", "--ro=--", "--ro=--rw", "--ro==", "--ro=a=b"}, flags{"ro": []string{"-x", "--", "--rw", "=", "a=b"}}, nil},
		{[]string{"--status-fd=-1"}, flags{"status-fd": "-1"}, nil},
		{[]string{"--cwd=", "x"}, flags{}, []string{"x"}},

		// Nothing in a value means anything to the parser.
		{[]string{"--ro", "a,b", "--ro", "a,b"}, flags{"ro": []string{"a,b", "a,b"}}, nil},
		{[]string{"--ro", `"q"`, "--ro=\"q\"", "--ro", `"q`, "--ro", "'q'"}, flags{"ro": []string{`"q"`, `"q"`, `"q`, "'q'"}}, nil},
		{[]string{"--ro", "${HOME}", "--ro", "@file", "--ro", `a\,b`, "--ro", "%s"}, flags{"ro": []string{"${HOME}", "@file", `a\,b`, "%s"}}, nil},
		{[]string{"--ro", "/\xfe", "x", "\xff"}, flags{"ro": []string{"/\xfe"}}, []string{"x", "\xff"}},
		{[]string{"--limit", "mem=1,cpu=2", "--limit=files=3"}, flags{"limit": []string{"mem=1,cpu=2", "files=3"}}, nil},

		// Of a flag with one value the last is taken; lists grow.
		{[]string{"--cwd", "/a", "--cwd", "/b"}, flags{"cwd": "/b"}, nil},
		{[]string{"--engine", "namespaces", "--engine=landlock"}, flags{"engine": "landlock"}, nil},
		{[]string{"--tmp", "--tmp", "x"}, flags{"tmp": toggle(true)}, []string{"x"}},

		// A flag that stands alone takes no word, but --name=yes.
		{[]string{"--system", "true"}, flags{"system": toggle(true)}, []string{"true"}},
		{[]string{"--system=true", "--tmp=1", "--pty=YES"}, flags{"system": toggle(true), "tmp": toggle(true), "pty": toggle(true)}, nil},
		{[]string{"--net=false", "--no-dev=no", "--no-proc=0"}, flags{}, nil},
		{[]string{"--net", "--net=no"}, flags{}, nil},

		// The program begins at the first word that is no flag.
		{[]string{"--ro", "/a", "-", "--rw", "/b"}, flags{"ro": []string{"/a"}}, []string{"-", "--rw", "/b"}},
		{[]string{"--tmp", "", "-x"}, flags{"tmp": toggle(true)}, []string{"", "-x"}},
		{[]string{"/ro", "/a"}, flags{}, []string{"/ro", "/a"}},
		{[]string{"@file"}, flags{}, []string{"@file"}},
		{[]string{"DOCTOR"}, flags{}, []string{"DOCTOR"}},
		{[]string{"--", "---x"}, flags{}, []string{"---x"}},
		{[]string{"x", "---x"}, flags{}, []string{"x", "---x"}},
		{[]string{"--", "--", "x"}, flags{}, []string{"--", "x"}},
		{[]string{"x", "--help"}, flags{}, []string{"x", "--help"}},
	} {
		c, name, err := read(tt.args...)
		if err != nil || name != "run" || c.said().Help {
			t.Errorf("%q: command %q, %v", tt.args, name, err)
			continue
		}
		if diff := cmp.Diff(tt.flags, flagsOf(c.(*runCmd))); diff != "" {
			t.Errorf("%q: want − got +\n%s", tt.args, diff)
		}
		if words := c.said().words; !slices.Equal(words, tt.words) {
			t.Errorf("%q: the program is %q, want %q", tt.args, words, tt.words)
		}
	}
}

// TestUsageErrors: each names the flag, and what to do where that is known.
func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--ro"}, `--ro: missing value; write --ro PATH`},
		{[]string{"--tmp", "--cwd"}, `--cwd: missing value; write --cwd DIR`},
		{[]string{"--ro", "-x"}, `--ro: missing value, -x looks like a flag; if it is the value, write --ro=-x`},
		{[]string{"--fd", "-1", "x"}, `--fd: missing value, -1 looks like a flag; if it is the value, write --fd=-1`},
		{[]string{"--ro", "--", "x"}, `--ro: missing value, -- looks like a flag; if it is the value, write --ro=--`},
		{[]string{"--ro", "--ro"}, `--ro: missing value, --ro looks like a flag; if it is the value, write --ro=--ro`},
		{[]string{"--env", "-%s=\x1b"}, `--env: missing value, "-%s=\x1b" looks like a flag; if it is the value, write --env="-%s=\x1b"`},
		{[]string{"--ro", "---", "x"}, `unknown flag ---`},

		{[]string{"--roo=/a"}, `unknown flag --roo, did you mean one of "--ro", "--rox"?`},
		{[]string{"--ro ", "/a"}, `unknown flag --ro , did you mean one of "--ro", "--rox"?`},
		{[]string{"--r", "/a"}, `unknown flag --r, did you mean one of "--ro", "--rox", "--rw", "--rwx"?`},
		{[]string{"--allow", "x"}, `unknown flag --allow, did you mean "--allow-weaker"?`},
		{[]string{"--sytem"}, `unknown flag --sytem, did you mean "--system"?`},
		{[]string{"--RO", "/a"}, `unknown flag --RO, did you mean "--ro"?`},
		{[]string{"-net"}, `unknown flag -net, did you mean "--net"?`},
		{[]string{"---ro", "/a"}, `unknown flag ---ro, did you mean "--ro"?`},
		{[]string{"--no-system"}, `unknown flag --no-system`},
		{[]string{"--=x"}, `unknown flag --`},
		{[]string{"-=x"}, `unknown flag -`},
		{[]string{"-é"}, `unknown flag -é`},
		{[]string{"-hx"}, `unknown flag -hx`},
		{[]string{"--nonesuch\x1b[2J=x"}, `unknown flag "--nonesuch\x1b[2J"`},
		{[]string{"--nonesuch", "--help"}, `unknown flag --nonesuch`},
		{[]string{"--help", "--json"}, `unknown flag --json`},
		{[]string{"doctor", "--ro", "/a"}, `unknown flag --ro`},
		{[]string{"doctor", "--jsn"}, `unknown flag --jsn, did you mean "--json"?`},

		{[]string{"--engine=none"}, `--engine must be one of "auto","namespaces","landlock" but got "none"`},
		{[]string{"--engine", "", "x"}, `--engine must be one of "auto","namespaces","landlock" but got ""`},
		{[]string{"--net=", "x"}, `--net must be true, 1, yes, false, 0 or no but got ""`},
		{[]string{"--net=t", "x"}, `--net must be true, 1, yes, false, 0 or no but got "t"`},
		{[]string{"run", "--help=yes"}, `--help takes no value`},
		{[]string{"run", "-h=1"}, `-h takes no value`},

		{[]string{"version", "x"}, `unexpected argument x`},
		{[]string{"doctor", "--", "--json"}, `unexpected argument --json`},
		{[]string{"help", "run", "\x1b"}, `unexpected argument "\x1b"`},
	} {
		var out, errs bytes.Buffer
		status := Main(tt.args, Streams{&out, &errs})
		want := "capsicum: " + tt.want + "; see capsicum help\n"
		if status != exitRefused || out.Len() != 0 || errs.String() != want {
			t.Errorf("%q: status %d, stdout %q, stderr\n\t%swant\n\t%s", tt.args, status, &out, &errs, want)
		}
	}
}

// TestHelpAsked: --help is heard wherever a flag may stand.
func TestHelpAsked(t *testing.T) {
	for args, want := range map[string]string{
		"run --help": "run", "run -h": "run", "run -hh": "run", "--ro /a --help": "run", "--ro /a -h prog": "run",
		"doctor --json -h": "doctor", "rights read -h": "rights", "version --help": "version",
	} {
		var asked, helped, errs bytes.Buffer
		if status := Main(strings.Fields(args), Streams{&asked, &errs}); status != exitOK || errs.Len() != 0 {
			t.Errorf("%q: status %d, %s", args, status, &errs)
		}
		Main([]string{"help", want}, Streams{&helped, &errs})
		if diff := cmp.Diff(helped.String(), asked.String()); diff != "" || helped.Len() == 0 {
			t.Errorf("%q is not capsicum help %s:\n%s", args, want, diff)
		}
	}
}

// TestNoEnvironment: the library reads a variable. We must not: someone else's
// completion would start a program without its grants, or none.
func TestNoEnvironment(t *testing.T) {
	t.Setenv(completing, "1")
	c := readRun(t, "--ro", "/a", "prog")
	if !slices.Equal(c.RO, []string{"/a"}) || !slices.Equal(c.words, []string{"prog"}) {
		t.Errorf("read %+v", c)
	}
	if !slices.Contains(os.Environ(), completing+"=1") {
		t.Errorf("%s is gone: --env can not pass it on", completing)
	}
}

// words that command lines are made of: every flag, and what could be mistaken
// for something else.
func wordGenerator() *rapid.Generator[string] {
	words := []string{"", "-", "--", "---", "---x", "-h", "--help", "-x", "--x", "--=", "--=x", "run", "doctor", "rights", "help",
		"version", "prog", "a=b", "a,b", `"q"`, "namespaces", "bogus", "-1", "%s", "-%s", "\x1b", "--\x1b", "\xff", "/etc"}
	for i := range reflect.TypeFor[runCmd]().NumField() {
		if name, ok := reflect.TypeFor[runCmd]().Field(i).Tag.Lookup("long"); ok {
			name = "--" + name
			words = append(words, name, name, name+"=", name+"=v", name+"=yes", name+"=-x", name+"=--", name+"x")
		}
	}
	return rapid.SampledFrom(append(words, "--engine=namespaces", "--engine=landlock", "--ro=/x"))
}

// TestAnyLine: every line is read or refused in one printable line, and what is
// read is what was written.
func TestAnyLine(t *testing.T) {
	var ran, refused int
	rapid.Check(t, func(rt *rapid.T) {
		args := rapid.SliceOfN(wordGenerator(), 0, 8).Draw(rt, "args")
		if checkLine(rt, args) {
			ran++
		} else {
			refused++
		}
	})
	if ran == 0 || refused == 0 {
		t.Errorf("%d lines were read and %d refused", ran, refused)
	}
}

// FuzzLine is TestAnyLine for words that nobody thought of.
func FuzzLine(f *testing.F) {
	for _, line := range []string{"--ro\n/a\n--\nprog", "--engine=none", "--roo\n/a", "rights\nread\n--json", "-hx", "--cwd"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) { checkLine(t, strings.Split(line, "\n")) })
}

// checkLine reports whether the line was read.
func checkLine(t interface{ Fatalf(string, ...any) }, args []string) bool {
	c, name, err := read(args...)
	if err != nil {
		if text := err.Error(); text == "" || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q: %q", args, text)
		}
		return false
	}
	run, ok := c.(*runCmd)
	if !ok {
		return true
	}
	if name != "run" {
		t.Fatalf("%q: command %s", args, name)
	}
	if len(run.words) > 0 {
		before, program := args[:len(args)-len(run.words)], args[len(args)-len(run.words):]
		if !slices.Equal(run.words, program) {
			t.Fatalf("%q: the program is %q", args, run.words)
		}
		ended := len(before) > 0 && before[len(before)-1] == "--"
		if !ended && len(program[0]) > 1 && program[0][0] == '-' {
			t.Fatalf("%q: %q is taken for a program", args, program[0])
		}
	}
	again, _, err := read(written(run)...)
	if err != nil {
		t.Fatalf("%q, written as %q: %v", args, written(run), err)
	}
	if diff := cmp.Diff(flagsOf(run), flagsOf(again.(*runCmd))); diff != "" || !slices.Equal(run.words, again.said().words) {
		t.Fatalf("%q, written as %q:\n%s", args, written(run), diff)
	}
	return true
}

// written is a line that says what c says.
func written(c *runCmd) []string {
	args := []string{"run"}
	for name, value := range flagsOf(c) {
		switch value := value.(type) {
		case toggle:
			args = append(args, "--"+name)
		case string:
			args = append(args, "--"+name+"="+value)
		case []string:
			for _, v := range value {
				args = append(args, "--"+name+"="+v)
			}
		}
	}
	return append(append(args, "--"), c.words...)
}

// BenchmarkParse is what reading the line costs a start.
func BenchmarkParse(b *testing.B) {
	for name, line := range map[string]string{
		"typical": "--rox /usr --ro /etc --rw /tmp/x --system --env A=b -- prog args",
		"trivial": "-- /bin/true",
	} {
		b.Run(name, func(b *testing.B) {
			args := strings.Fields(line)
			for b.Loop() {
				if _, _, err := parse(canonical(args)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
