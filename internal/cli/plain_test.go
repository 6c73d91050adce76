package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// words that command lines are made of: every flag, and what could be mistaken
// for something else.
func wordGenerator() *rapid.Generator[string] {
	words := []string{"", "-", "--", "---", "-h", "--help", "-x", "--x", "--=", "--=x", "run", "doctor", "prog", "a=b", "a,b",
		`a\,b`, "'q'", "namespaces", "landlock", "bogus", "-1", "${x}", "@file", "/etc", "--program", "--program=x"}
	for i := range runType.NumField() {
		name := "--" + runType.Field(i).Tag.Get("name")
		words = append(words, name, name, name+"=", name+"=v", name+"=true", name+"=a=b", name+"x")
	}
	words = append(words, "--engine=namespaces", "--engine=landlock", "--ro=/x", "--ro=-x")
	return rapid.SampledFrom(words)
}

// TestPlainIsTheGrammar: what is read without the grammar is what the grammar
// reads.
func TestPlainIsTheGrammar(t *testing.T) {
	var both, left int
	rapid.Check(t, func(rt *rapid.T) {
		args := rapid.SliceOfN(wordGenerator(), 0, 8).Draw(rt, "args")
		c := plain(canonical(args))
		if c == nil {
			left++
			return
		}
		both++
		g, name, err := parse(t, args...)
		if err != nil || name != "run" || g.Help {
			rt.Fatalf("%q: the grammar says %q, %v", args, name, err)
		}
		if diff := cmp.Diff(g.Run, *c); diff != "" {
			rt.Fatalf("%q: grammar − plain +\n%s", args, diff)
		}
	})
	if both == 0 || left == 0 {
		t.Errorf("%d command lines were plain and %d were not", both, left)
	}
}

// TestPlainForms: the forms that people write need no grammar.
func TestPlainForms(t *testing.T) {
	for _, line := range []string{
		"prog", "-- prog -x", "run prog", "--system --ro /etc --rw=/tmp -- prog --ro x",
		"--engine landlock --net --cwd /x --status-fd 3 --allow-weaker=fstat prog", "--env A=b --cap /x=read,fstat --dry-run --json prog",
	} {
		if plain(canonical(strings.Fields(line))) == nil {
			t.Errorf("%q is left to the grammar", line)
		}
	}
}

// TestPlainKeepsBytes: names and arguments need not be UTF-8.
func TestPlainKeepsBytes(t *testing.T) {
	c := plain(canonical([]string{"--ro", "/\xfe", "prog", "\xff"}))
	if c == nil || c.RO[0] != "/\xfe" || c.Argv[1] != "\xff" {
		t.Errorf("got %+v", c)
	}
}
