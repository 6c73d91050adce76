package policy

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/capsicum-go/capsicum/rights"
)

func TestParseGrant(t *testing.T) {
	for _, c := range []struct {
		value, source, dest string
		optional            bool
		err                 string
	}{
		{value: "/usr", source: "/usr", dest: "/usr"},
		{value: "src/x", source: "src/x", dest: "src/x"},
		{value: "?/opt", source: "/opt", dest: "/opt", optional: true},
		{value: `\?x`, source: "?x", dest: "?x"},
		{value: "a?b", source: "a?b", dest: "a?b"},
		{value: "/a:/b", source: "/a", dest: "/b"},
		{value: "?/a:/b", source: "/a", dest: "/b", optional: true},
		{value: "/a:/b//./c/", source: "/a", dest: "/b/c"},
		{value: `/a\:b`, source: "/a:b", dest: "/a:b"},
		{value: `/a\:b:/c\:d\\`, source: "/a:b", dest: `/c:d\`},
		{value: "/a*", source: "/a*", dest: "/a*"},
		{value: "/a=b", source: "/a=b", dest: "/a=b"},
		{value: "../x", source: "../x", dest: "../x"},
		{value: "", err: "name is empty"},
		{value: "?", err: "name is empty"},
		{value: ":/b", err: "name is empty"},
		{value: "/a:", err: "name in the sandbox is empty"},
		{value: "/a:b", err: "relative"},
		{value: "/a:/b/../c", err: `".."`},
		{value: "/a:/..", err: `".."`},
		{value: "/a:/b:/c", err: "more than one colon"},
		{value: `/a\x2d`, err: "lone backslash"},
		{value: `/a\`, err: "lone backslash"},
		{value: "/a\x00b", err: "NUL"},
		{value: "/a:/b\x00", err: "NUL"},
		{value: "/" + strings.Repeat("a/", 2048), err: "longer"},
	} {
		g, err := ParseGrant("--ro", c.value, RO)
		if c.err != "" {
			var typed *Error
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "--ro") || !errors.As(err, &typed) {
				t.Errorf("ParseGrant(%q) = %v, want an error about %q", c.value, err, c.err)
			}
			continue
		}
		want := Grant{Flag: "--ro " + c.value, Source: c.source, Dest: c.dest, Rights: RO, Optional: c.optional}
		if diff := cmp.Diff(want, g); err != nil || diff != "" {
			t.Errorf("ParseGrant(%q): %v\n%s", c.value, err, diff)
		}
	}
}

func TestParseCap(t *testing.T) {
	for _, c := range []struct {
		value, source string
		want          rights.Set
		err           string
	}{
		{value: "/a=read,seek", source: "/a", want: rights.Of(rights.Read, rights.Seek)},
		{value: "/a=b=read", source: "/a=b", want: rights.Of(rights.Read)},
		{value: "/a=ro,fchmod", source: "/a", want: RO.Union(rights.Of(rights.Fchmod))},
		{value: "/a=rwx,-ioctl", source: "/a", want: RWX.Minus(rights.Of(rights.Ioctl))},
		{value: "/a=connectat,rw", source: "/a", want: RW.Union(rights.Of(rights.Connectat))},
		{value: "/a", err: "no rights given"},
		{value: "/a=", err: "no right is named"},
		{value: "/a=read,-read", err: "no right is named"},
		{value: "/a=raed", err: `did you mean "read"`},
		{value: "/a=read,,seek", err: "empty name"},
		{value: "=read", err: "name is empty"},
	} {
		g, err := ParseCap("--cap", c.value)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "--cap "+c.value) {
				t.Errorf("ParseCap(%q) = %v, want an error about %q", c.value, err, c.err)
			}
			continue
		}
		if err != nil || g.Source != c.source || g.Rights != c.want || g.Flag != "--cap "+c.value {
			t.Errorf("ParseCap(%q) = %+v, %v", c.value, g, err)
		}
	}
}

func TestParseFD(t *testing.T) {
	set := rights.Of(rights.Read, rights.Seek)
	for _, c := range []struct {
		value string
		want  FD
		err   string
	}{
		{"3", FD{"--fd 3", 3, nil}, ""},
		{"3=read,seek", FD{"--fd 3=read,seek", 3, &set}, ""},
		{"0=ro", FD{"--fd 0=ro", 0, &RO}, ""},
		{"", FD{}, "descriptor number"},
		{"-1", FD{}, "descriptor number"},
		{"+3", FD{}, "descriptor number"},
		{"0x3", FD{}, "descriptor number"},
		{"1048576", FD{}, "descriptor number"},
		{"99999999999999999999", FD{}, "descriptor number"},
		{"3=", FD{}, "no right"},
		{"3=x", FD{}, "unknown right"},
	} {
		fd, err := ParseFD("--fd", c.value)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("ParseFD(%q) = %v, want an error about %q", c.value, err, c.err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, fd); err != nil || diff != "" {
			t.Errorf("ParseFD(%q): %v\n%s", c.value, err, diff)
		}
	}
}

func TestParseLimit(t *testing.T) {
	for _, c := range []struct {
		value string
		want  map[string]uint64
		err   string
	}{
		{"mem=512M,procs=64,files=256,cpu=10s", map[string]uint64{"mem": 512 << 20, "procs": 64, "files": 256, "cpu": 10}, ""},
		{"mem=1024", map[string]uint64{"mem": 1024}, ""},
		{"mem=1k", map[string]uint64{"mem": 1 << 10}, ""},
		{"mem=3G", map[string]uint64{"mem": 3 << 30}, ""},
		{"mem=2T", map[string]uint64{"mem": 2 << 40}, ""},
		{"cpu=90", map[string]uint64{"cpu": 90}, ""},
		{"cpu=1m30s", map[string]uint64{"cpu": 90}, ""},
		{"cpu=1500ms", map[string]uint64{"cpu": 2}, ""},
		{"cpu=1ns", map[string]uint64{"cpu": 1}, ""},
		{"", nil, "unknown resource"},
		{"mem=1M,", nil, "unknown resource"},
		{"ram=1M", nil, "unknown resource"},
		{"mem", nil, "no value"},
		{"mem=1M,mem=2M", nil, "twice"},
		{"mem=0", nil, "zero"},
		{"mem=0G", nil, "zero"},
		{"procs=0", nil, "zero"},
		{"cpu=0s", nil, "zero"},
		{"mem=", nil, "not a number"},
		{"mem=M", nil, "not a number"},
		{"mem=1MB", nil, "not a number"},
		{"mem=-1", nil, "not a number"},
		{"mem=8388608T", nil, "out of range"},
		{"mem=18446744073709551615", nil, "not a number"},
		{"files=1K", nil, "not a whole number"},
		{"files=18446744073709551616", nil, "not a whole number"},
		{"cpu=-1s", nil, "length of time"},
		{"cpu=1y", nil, "length of time"},
		{"cpu=99999999999999999", nil, "out of range"},
	} {
		limits, err := ParseLimit("--limit", c.value)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "--limit") {
				t.Errorf("ParseLimit(%q) = %v, want an error about %q", c.value, err, c.err)
			}
			continue
		}
		got := make(map[string]uint64)
		for _, l := range limits {
			got[l.Resource] = l.Value
		}
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("ParseLimit(%q): %v\n%s", c.value, err, diff)
		}
	}
}

func TestEnviron(t *testing.T) {
	caller := []string{"PATH=/bin", "SECRET=1", "LC_ALL=C", "LCX=1", "TZ=", "PATH=/evil", "=x", "bare", "HOME=/h"}
	parse := func(values ...string) []EnvVar {
		var vars []EnvVar
		for _, value := range values {
			v, err := ParseEnv("--env", value)
			if err != nil {
				t.Fatal(err)
			}
			vars = append(vars, v)
		}
		return vars
	}
	for _, c := range []struct {
		name  string
		vars  []EnvVar
		clear bool
		want  []string
	}{
		{"default", nil, false, []string{"PATH=/bin", "LC_ALL=C", "TZ=", "HOME=/h"}},
		{"clear", nil, true, nil},
		{"inherit", parse("SECRET", "ABSENT"), true, []string{"SECRET=1"}},
		{"set", parse("A=b=c", "A=d", "PATH=/x"), false, []string{"PATH=/x", "LC_ALL=C", "TZ=", "HOME=/h", "A=d"}},
		{"empty", parse("A="), true, []string{"A="}},
	} {
		if diff := cmp.Diff(c.want, Environ(c.vars, caller, c.clear)); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
	for _, bad := range []string{"", "=x", "A=\x00"} {
		if v, err := ParseEnv("--env", bad); err == nil {
			t.Errorf("ParseEnv(%q) = %+v, want an error", bad, v)
		}
	}
}

func TestSets(t *testing.T) {
	for _, s := range Sets() {
		if back, err := rights.Parse(s.Rights.String()); err != nil || back != s.Rights {
			t.Errorf("%s does not survive printing: %v", s.Name, err)
		}
		for _, never := range []rights.Right{rights.Connectat, rights.Mknodat, rights.Fchroot, rights.Fchdir} {
			if s.Rights.IsSet(never) {
				t.Errorf("%s implies %s", s.Name, never)
			}
		}
		if x := strings.HasSuffix(s.Name, "x"); s.Rights.IsSet(rights.Fexecve) != x || s.Rights.IsSet(rights.MmapX) != x {
			t.Errorf("%s: wrong about execution", s.Name)
		}
		if w := strings.HasPrefix(s.Name, "rw"); s.Rights.IsSet(rights.Write) != w || s.Rights.IsSet(rights.Flock) != w {
			t.Errorf("%s: wrong about writing", s.Name)
		}
	}
	if !RWX.Contains(ROX.Union(RW)) || !ROX.Union(RW).Contains(RWX) {
		t.Error("rwx is not rox and rw together")
	}
}

func TestWeaker(t *testing.T) {
	names, err := ParseWeaker("--allow-weaker", "pty,seek")
	if err != nil || !slices.Equal(names, []string{"pty", "seek"}) {
		t.Errorf("ParseWeaker = %v, %v", names, err)
	}
	for _, bad := range []string{"", "all", "pty,", "Pty", "proc"} {
		if _, err := ParseWeaker("--allow-weaker", bad); err == nil {
			t.Errorf("ParseWeaker(%q) succeeds", bad)
		}
	}
	seen := make(map[string]bool)
	for _, w := range WeakerNames() {
		if seen[w.Name] || w.Doc == "" {
			t.Errorf("%q is there twice or says nothing", w.Name)
		}
		seen[w.Name] = true
	}
}

func TestEscapeIsUndone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a:?\\/=.*]{1,12}`).Draw(t, "name")
		g, err := ParseGrant("--ro", Escape(name)+":"+Escape("/"+strings.ReplaceAll(name, ".", "")), RO)
		if err != nil || g.Source != name {
			t.Fatalf("%q came back as %q: %v", name, g.Source, err)
		}
	})
}

func FuzzParseGrant(f *testing.F) {
	for _, seed := range []string{"/usr", "?/a:/b", `/a\:b:/c`, "/a:/../b", "a=b=read", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, parse := range []func() (Grant, error){
			func() (Grant, error) { return ParseGrant("--ro", value, RO) },
			func() (Grant, error) { return ParseCap("--cap", value) },
		} {
			g, err := parse()
			if err != nil {
				continue
			}
			if g.Source == "" || g.Rights.IsEmpty() || strings.ContainsRune(g.Source+g.Dest, 0) {
				t.Errorf("%q: %+v", value, g)
			}
			if g.Dest != g.Source && (g.Dest[0] != '/' || path.Clean(g.Dest) != g.Dest) {
				t.Errorf("%q: destination %q", value, g.Dest)
			}
		}
	})
}

func FuzzParseFD(f *testing.F) {
	f.Add("3=read,seek")
	f.Fuzz(func(t *testing.T, value string) {
		fd, err := ParseFD("--fd", value)
		if err == nil && (fd.Num < 0 || fd.Num > maxFD || fd.Rights != nil && fd.Rights.IsEmpty()) {
			t.Errorf("%q: %+v", value, fd)
		}
	})
}

func FuzzParseLimit(f *testing.F) {
	f.Add("mem=512M,procs=64,files=256,cpu=10s")
	f.Fuzz(func(t *testing.T, value string) {
		limits, err := ParseLimit("--limit", value)
		if err == nil && len(limits) == 0 {
			t.Errorf("%q: neither limits nor an error", value)
		}
		for _, l := range limits {
			if l.Value == 0 || l.Value > 1<<63-1 {
				t.Errorf("%q: %+v", value, l)
			}
		}
	})
}

func FuzzParseEnv(f *testing.F) {
	f.Add("A=b")
	f.Fuzz(func(t *testing.T, value string) {
		v, err := ParseEnv("--env", value)
		if err != nil {
			return
		}
		for _, kv := range Environ([]EnvVar{v}, []string{value}, true) {
			if kv != value {
				t.Errorf("%q became %q", value, kv)
			}
		}
	})
}
