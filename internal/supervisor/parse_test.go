package supervisor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

const statusText = `Name:	sh\nUid:	0
Umask:	0027
State:	S (sleeping)
Tgid:	42
Pid:	43
PPid:	7
Uid:	1000	1001	1002	1003
Gid:	2000	2001	2002	2003
Groups:	4 24 1000 
Threads:	3
SigPnd:	0000000000000001
ShdPnd:	0000000000000002
SigBlk:	8000000000000000
SigIgn:	0000000000000004
CapPrm:	00000000000000ff
CapEff:	000000000000000f
Seccomp_filters:	3
`

func TestParseStatus(t *testing.T) {
	got, err := parseStatus([]byte(statusText))
	if err != nil {
		t.Fatal(err)
	}
	want := &status{
		tgid: 42, ppid: 7, state: 'S', threads: 3, umask: 0o27,
		uid: [4]uint32{1000, 1001, 1002, 1003}, gid: [4]uint32{2000, 2001, 2002, 2003}, groups: []uint32{4, 24, 1000},
		permitted: 0xff, effective: 0xf, pending: 1, shared: 2, blocked: 1 << 63, ignored: 4, filters: 3,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	real := got.realIdentity()
	if real.FSUID != 1000 || real.FSGID != 2000 || real.Effective != 0 {
		t.Errorf("real identity: %+v", real)
	}
	got.uid[0] = 0
	if real = got.realIdentity(); real.Effective != 0xff {
		t.Errorf("real identity of root: %+v", real)
	}
}

// A line that is missing, cut off or odd must not read as root.
func TestParseStatusRefuses(t *testing.T) {
	for i := range strings.Count(statusText, "\n") {
		lines := strings.SplitAfter(statusText, "\n")
		key, _, _ := strings.Cut(lines[i], ":")
		if key == "Name" || key == "Pid" {
			continue
		}
		text := strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "")
		if _, err := parseStatus([]byte(text)); !errors.Is(err, errStatus) {
			t.Errorf("without %s: %v", key, err)
		}
		odd := strings.Replace(statusText, lines[i], key+":\tx\n", 1)
		if _, err := parseStatus([]byte(odd)); err == nil && key != "State" {
			t.Errorf("%s: x was accepted", key)
		}
	}
	for cut := range len(statusText) {
		if _, err := parseStatus([]byte(statusText[:cut])); err == nil {
			t.Errorf("%d bytes were accepted", cut)
		}
	}
}

func TestOwnStatusIsThreadIdentity(t *testing.T) {
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	st, err := parseStatus(text)
	if err != nil {
		t.Fatal(err)
	}
	own, err := sys.ThreadIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if !st.identity().Equal(own) {
		t.Errorf("/proc says %+v, the kernel %+v", st.identity(), own)
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(statusText))
	f.Add([]byte("Uid:\t\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		st, err := parseStatus(text)
		if err != nil {
			return
		}
		for _, key := range []string{"Uid:", "Gid:", "Groups:", "CapEff:"} {
			if !bytes.Contains(text, []byte(key)) {
				t.Errorf("accepted without %s: %+v", key, st)
			}
		}
	})
}

func TestUnixName(t *testing.T) {
	family := binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX)
	for _, c := range []struct {
		rest string
		want unixName
		err  error
	}{
		{"", unixName{}, nil},
		{"/run/x\x00", unixName{path: "/run/x"}, nil},
		{"/run/x", unixName{path: "/run/x"}, nil},
		{"/run/x\x00/etc/y\x00", unixName{path: "/run/x"}, nil},
		{"\x00", unixName{abstract: "\x00"}, nil},
		{"\x00a\x00b", unixName{abstract: "\x00a\x00b"}, nil},
		{strings.Repeat("x", 108), unixName{path: strings.Repeat("x", 108)}, nil},
		{strings.Repeat("x", 109), unixName{}, unix.EINVAL},
	} {
		a, err := parseSockaddr(append(bytes.Clone(family), c.rest...))
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.unixName()
		if err != c.err || got != c.want {
			t.Errorf("%q: %+v, %v; want %+v, %v", c.rest, got, err, c.want, c.err)
		}
	}
	for _, short := range []string{"", "\x01"} {
		if _, err := parseSockaddr([]byte(short)); err != unix.EINVAL {
			t.Errorf("%q: %v", short, err)
		}
	}
}

// What is judged is what the kernel would read: a path without NUL that starts
// the copied bytes, or an abstract name that is all of them.
func FuzzUnixName(f *testing.F) {
	f.Add([]byte("\x01\x00/run/x\x00"))
	f.Add([]byte("\x01\x00\x00abstract"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := parseSockaddr(raw)
		if err != nil {
			return
		}
		n, err := a.unixName()
		if err != nil {
			return
		}
		rest := string(raw[addrOffset:])
		switch {
		case n.path != "" && n.abstract != "":
			t.Errorf("%q is two names: %+v", raw, n)
		case n.path != "" && (strings.ContainsRune(n.path, 0) || !strings.HasPrefix(rest+"\x00", n.path+"\x00")):
			t.Errorf("%q: path %q", raw, n.path)
		case n.path == "" && n.abstract != rest:
			t.Errorf("%q: abstract %q", raw, n.abstract)
		}
	})
}

// The set of bound sockets never grows beyond its bound and forgets the oldest
// first.
func TestRecentForgetsTheOldest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r recent[int]
		var order []int
		for _, k := range rapid.SliceOfN(rapid.IntRange(0, 3*registrySize), 0, 200).Draw(t, "keys") {
			for i := range 60 {
				v := k + i
				if !r.has(v) {
					order = append(order, v)
				}
				r.add(v)
			}
		}
		if len(r.have) > registrySize || len(r.ring) > registrySize {
			t.Fatalf("%d members", len(r.have))
		}
		for i, v := range order[max(0, len(order)-registrySize):] {
			if !r.has(v) {
				t.Fatalf("member %d of the latest is forgotten", i)
			}
		}
	})
}

func TestResults(t *testing.T) {
	for _, c := range []struct {
		name string
		got  Result
		want Result
	}{
		{"nothing", Result{}, Result{kind: kindNone}},
		{"errno 0 is none", Errno(0), Result{kind: kindNone}},
		{"nil error", Fail(nil), Value(0)},
		{"errno", Fail(unix.EXDEV), Errno(unix.EXDEV)},
		{"wrapped errno", Fail(errors.Join(errors.New("x"), unix.EXDEV)), Errno(unix.EXDEV)},
		{"other error", Fail(errors.New("x")), Errno(unix.EIO)},
		{"gone", Fail(notify.ErrGone), Result{kind: kindGone}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, c.got, c.want)
		}
	}
}

func TestOwnDescriptorNames(t *testing.T) {
	c := new(Call)
	c.n.PID = 77
	for name, want := range map[string]int32{
		"/proc/self/fd/3": 3, "/proc/thread-self/fd/0": 0, "/dev/fd/9": 9, "/proc/77/fd/4": 4,
		"/proc/78/fd/4": -1, "/proc/self/fd/": -1, "/proc/self/fd/3/x": -1, "/proc/self/fd/-1": -1, "/proc/self/fd/x": -1,
		"/dev/fd/99999999999": -1, "fd/3": -1,
	} {
		got, ok := ownDescriptor(c, name)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}
