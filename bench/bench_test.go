package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/capsicum-go/capsicum/internal/policy"
)

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2}} {
		given := slices.Clone(tc.values)
		if got := median(given); got != tc.want {
			t.Errorf("median(%v) = %v, want %v", tc.values, got, tc.want)
		}
		if !slices.Equal(given, tc.values) {
			t.Errorf("median changed %v to %v", tc.values, given)
		}
	}
}

const counted = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ------------------
 60.00    0.000600          60        10           read
 40.00    0.000400          10        40         3 openat
------ ----------- ----------- --------- --------- ------------------
100.00    0.001000          20        50         3 total
`

func TestParseCounts(t *testing.T) {
	got := parseCounts(counted)
	if diff := cmp.Diff([]trap{{"openat", 40}, {"read", 10}}, got, cmp.AllowUnexported(trap{})); diff != "" {
		t.Error(diff)
	}
	if asks := counts(asking(got, policy.EngineLandlock)); asks != "openat 40" {
		t.Errorf("asks under landlock: %q", asks)
	}
	if asks := counts(asking(got, policy.EngineNamespaces)); asks != "none" {
		t.Errorf("asks under namespaces: %q", asks)
	}
}

// TestSameGrants holds the tools to one another: what one gets, all that can say
// it get.
func TestSameGrants(t *testing.T) {
	b := &bed{dir: "/bed", bin: "/bed/bin/capsicum", env: []string{"A=1"}}
	w := &workload{argv: []string{"/bin/true", "x"}, grants: grants{system: true, ro: []string{"/r"}, rw: []string{"/w"}}}
	for _, tl := range tools {
		argv, err := tl.wrap(b, w)
		if err != nil {
			t.Logf("%s: %v", tl.name, err)
			continue
		}
		line := " " + strings.Join(argv, " ")
		if !strings.HasSuffix(line, "/true x") {
			t.Errorf("%s does not run the program: %s", tl.name, line)
		}
		if tl.name != "plain" && tl.name != "least" && !strings.Contains(line, "/w") {
			t.Errorf("%s does not grant /w: %s", tl.name, line)
		}
		if tl.name == "bubblewrap" && !strings.Contains(line, " --ro-bind /r /r ") || tl.name == "landlock" && !strings.Contains(line, " --ro /r ") {
			t.Errorf("%s does not grant /r: %s", tl.name, line)
		}
	}
}

// TestReport keeps a run that failed, or did other work, out of the numbers.
func TestReport(t *testing.T) {
	w := &workload{name: "work", runs: 2, target: allowance}
	r := &results{bed: &bed{}, taken: time.Unix(0, 0), rows: []row{{workload: w, cells: []cell{
		{seconds: []float64{1, 1}}, {seconds: []float64{1.2, 1.2}}, {problem: "exit status 1: no"}, {problem: "–"}, {seconds: []float64{2}}, {seconds: []float64{1.1}},
	}}}}
	var out bytes.Buffer
	writeReport(&out, r)
	for _, want := range []string{
		"| work | 2 | 1.00 s | 1.20 s (1.20) | – | – | 2.00 s (2.00) | 1.10 s (1.10) |",
		"- work under landlock: exit status 1: no",
		"| work: namespaces to plain | 1.05 | 1.200 | missed; least 1.100 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if r.missed() != 1 {
		t.Errorf("%d targets missed, want 1", r.missed())
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{{"-run", "("}, {"extra"}, {"-count", "x"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q accepted", args)
		}
	}
	c, err := parse([]string{"-run", "git|sqlite", "-quick"}, io.Discard)
	if err != nil || !c.quick || !c.only.MatchString("sqlite3, inserts") || c.only.MatchString("find") {
		t.Errorf("%+v, %v", c, err)
	}
}
