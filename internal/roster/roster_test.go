package roster

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/rights"
)

var sample = Answer{Served: []Served{
	{PID: 17, Mode: true, Limited: []Descriptor{
		{FD: 0, Caps: filecaps.Caps{Rights: rights.Of(rights.Read, rights.Event), Listed: true}},
		{FD: 3, Caps: filecaps.Caps{Rights: rights.Of(rights.Ioctl, rights.Fcntl), Fcntls: rights.FcntlGetfl, Listed: true, Ioctls: []uint32{0x5401, 0xffffffff}}},
		{FD: 70000, Caps: filecaps.Caps{Rights: rights.All().Minus(rights.Of(rights.Write)), Fcntls: rights.FcntlAll}},
	}},
	{PID: 4194304},
}, Unborn: []Unborn{
	{Label: 1, Free: -1, Limited: []Descriptor{{FD: 9, Caps: filecaps.Caps{Rights: rights.Of(rights.Fstat), Listed: true}}}},
	{Label: 1<<64 - 1, Free: 5},
}}

func TestRoundTrip(t *testing.T) {
	for _, a := range []Answer{sample, {}, {Cut: true}, {Served: sample.Served, Cut: true}} {
		back, err := Parse(a.Bytes())
		if err != nil || !reflect.DeepEqual(a, back) {
			t.Errorf("%v\n%s", err, cmp.Diff(a, back))
		}
	}
}

// TestCut: an answer that is too long is read as far as it goes.
func TestCut(t *testing.T) {
	var long Answer
	for pid := range 1000 {
		s := Served{PID: pid + 1}
		for fd := range 100 {
			s.Limited = append(s.Limited, Descriptor{FD: fd, Caps: filecaps.Caps{Listed: true}})
		}
		long.Served = append(long.Served, s)
	}
	text := long.Bytes()
	back, err := Parse(text)
	if err != nil || !back.Cut || len(text) > maxAnswer || len(text) < maxAnswer/2 {
		t.Fatalf("%d bytes, cut %v, %v", len(text), back.Cut, err)
	}
	if n := len(back.Served); n < 10 || !reflect.DeepEqual(back.Served[:n-1], long.Served[:n-1]) {
		t.Errorf("%d processes are left, or others", n)
	}
}

// TestParseRefuses: nothing is half understood.
func TestParseRefuses(t *testing.T) {
	const descriptor = "fd 3 200000000000000 400000000000000 0 none\n"
	good := head + "\nprocess 1 1\n" + descriptor + wordEnd + "\n"
	if _, err := Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":           "",
		"another version":   strings.Replace(good, "report 1", "report 2", 1),
		"no end":            strings.TrimSuffix(good, "end\n"),
		"half an end":       strings.TrimSuffix(good, "\n"),
		"more after it":     good + "x\n",
		"no process":        head + "\n" + descriptor + "end\n",
		"process 0":         strings.Replace(good, "process 1", "process 0", 1),
		"process -1":        strings.Replace(good, "process 1", "process -1", 1),
		"a large process":   strings.Replace(good, "process 1", "process 4294967297", 1),
		"mode 2":            strings.Replace(good, "1 1", "1 2", 1),
		"another word":      strings.Replace(good, "process", "progress", 1),
		"two blanks":        strings.Replace(good, "process ", "process  ", 1),
		"fd twice":          strings.Replace(good, descriptor, descriptor+descriptor, 1),
		"negative fd":       strings.Replace(good, "fd 3", "fd -3", 1),
		"rights of neither": strings.Replace(good, "200000000000000", "0", 1),
		"unknown rights":    strings.Replace(good, "400000000000000", "5ffffffffffffff", 1),
		"unknown fcntls":    strings.Replace(good, " 0 none", " 1 none", 1),
		"no ioctl":          strings.Replace(good, "none", "", 1),
		"ioctl twice":       strings.Replace(good, "none", "5401,5401", 1),
		"large ioctl":       strings.Replace(good, "none", "100000000", 1),
		"fork 0":            strings.Replace(good, "process 1 1", "fork 0 1", 1),
		"fork -2":           strings.Replace(good, "process 1 1", "fork 1 -2", 1),
		"after a fork":      head + "\nfork 1 1\nprocess 1 1\nend\n",
		"after a cut":       head + "\ncut\nprocess 1 1\nend\n",
		"too long":          head + "\n" + strings.Repeat("process 1 1\n", maxAnswer/12) + "end\n",
	} {
		if a, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample.Bytes())
	f.Add([]byte(head + "\ncut\nend\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := Parse(text)
		if err != nil {
			return
		}
		back, err := Parse(a.Bytes())
		if err != nil || !reflect.DeepEqual(a, back) {
			t.Errorf("%v\n%s", err, cmp.Diff(a, back))
		}
	})
}

func TestContains(t *testing.T) {
	const word = "needle"
	for _, n := range []int{0, 1, 1<<20 - 7, 1<<20 - 6, 1<<20 - 3, 1 << 20, 3<<20 + 5} {
		hay := strings.Repeat("n", n)
		if found, err := contains(strings.NewReader(hay+word+hay), []byte(word)); !found || err != nil {
			t.Errorf("after %d: %v, %v", n, found, err)
		}
		if found, err := contains(strings.NewReader(hay+"needl"+hay), []byte(word)); found || err != nil {
			t.Errorf("not there, %d: %v, %v", n, found, err)
		}
	}
}
