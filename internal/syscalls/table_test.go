package syscalls

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// everyOption calls f with every combination of the switches, both engines, and
// with and without rights that must ask.
func everyOption(f func(Options)) {
	for bits := range 1 << 10 {
		on := func(i int) bool { return bits>>i&1 != 0 }
		o := Options{
			Engine: policy.EngineNamespaces, Net: on(0), Dgram: on(1), SignalScope: on(2), AbstractScope: on(3),
			UnixScope: on(4), PtraceScope: on(5), Flock: on(6),
		}
		if on(7) {
			o.Engine = policy.EngineLandlock
		}
		if on(8) {
			o.Lacking = Guardable()
		}
		o.NoCopies = on(9)
		f(o)
	}
	f(Options{Mode: Attached})
	f(Options{Mode: Attached, NoSupervisor: unix.EACCES})
	for _, r := range Guardable().Rights() {
		f(Options{Engine: policy.EngineNamespaces, PtraceScope: true, Lacking: rights.Of(r)})
		f(Options{Engine: policy.EngineLandlock, PtraceScope: true, Lacking: rights.Of(r), NoSupervisor: unix.EACCES})
	}
}

func TestEveryCallHasOneRow(t *testing.T) {
	for _, name := range sysno.Names() {
		if table()[name] == nil {
			t.Errorf("%s has no row", name)
		}
	}
	for name := range table() {
		if !slices.Contains(sysno.Names(), name) {
			t.Errorf("no architecture has %s", name)
		}
	}
}

// TestRules checks what the types can not: that rules are complete, compare
// registers the filter can compare, and give their reasons.
func TestRules(t *testing.T) {
	for _, row := range Rows() {
		if row.Doc == "" {
			t.Errorf("%s: no description", row.Name)
		}
		for i, r := range slices.Concat(row.Rules, row.attached) {
			if _, refused := r.Do.Refused(); r.Do != Pass && r.Do != Ask && !refused {
				t.Errorf("%s, rule %d: verdict %#x", row.Name, i, uint32(r.Do))
			}
			if r.Do != Pass && r.Reason == "" {
				t.Errorf("%s, rule %d: no reason", row.Name, i)
			}
			if r.Continue != "" && r.Do != Ask {
				t.Errorf("%s, rule %d: continued without being asked", row.Name, i)
			}
			if strings.HasSuffix(r.Reason, ".") || strings.HasSuffix(r.Continue, ".") {
				t.Errorf("%s, rule %d: reason ends in a full stop", row.Name, i)
			}
			for _, a := range r.Args {
				checkTest(t, row.Name, a)
			}
		}
	}
}

func checkTest(t *testing.T, name string, a ArgTest) {
	t.Helper()
	kinds := sysno.Args(name)
	if name == "close" && a.Arg == 1 {
		return // a register that the kernel does not look at: sys.CloseCookie
	}
	if a.Arg >= len(kinds) {
		t.Errorf("%s: compares argument %d of %d", name, a.Arg, len(kinds))
		return
	}
	pointer := kinds[a.Arg] == sysno.Path || kinds[a.Arg] == sysno.Pointer
	if pointer && a.Mask != ^uint64(0) {
		t.Errorf("%s: compares a part of address %d", name, a.Arg)
	}
	if len(a.Values) == 0 || a.Text == "" || a.Op == Above && (a.Mask != low32 || len(a.Values) != 1) {
		t.Errorf("%s: malformed test %+v", name, a)
	}
	for _, v := range a.Values {
		if v&^a.Mask != 0 && a.Op != Above {
			t.Errorf("%s: value %#x can never equal an argument masked with %#x", name, v, a.Mask)
		}
	}
}

func TestEveryOptionDecides(t *testing.T) {
	everyOption(func(o Options) {
		for _, row := range Rows() {
			if _, err := row.active(o); err != nil {
				t.Fatalf("%+v: %v", o, err)
			}
		}
	})
}

// TestContinued is the complete list of calls that a wrapped program's
// supervisor may let through after a look at memory, and continues no others. To
// extend it, show that the kernel itself enforces the verdict, or that nothing is
// at stake.
func TestContinued(t *testing.T) {
	var got []string
	for _, row := range Rows() {
		if slices.ContainsFunc(row.Rules, func(r Rule) bool { return r.Continue != "" }) {
			got = append(got, row.Name)
		}
	}
	want := []string{"chdir", "execve", "execveat", "fchdir", "flock"}
	if !slices.Equal(got, want) {
		t.Errorf("continued: %v, want %v", got, want)
	}
}

func TestAsks(t *testing.T) {
	scoped := Options{Engine: policy.EngineNamespaces, SignalScope: true, AbstractScope: true, UnixScope: true, PtraceScope: true}
	asks := func(change func(*Options)) []string {
		o := scoped
		change(&o)
		return Asks(o)
	}
	always := []string{"bind", "connect", "sendto"}
	for name, c := range map[string]struct {
		change func(*Options)
		more   []string // beside always
		all    bool     // no other calls than those
	}{
		"namespaces": {func(*Options) {}, nil, true},
		"no signal scope": {func(o *Options) { o.SignalScope = false },
			[]string{"kill"}, true},
		"datagrams": {func(o *Options) { o.Dgram, o.UnixScope = true, false },
			[]string{"sendmmsg", "sendmsg"}, true},
		"flock": {func(o *Options) { o.Flock = true }, []string{"flock"}, true},
		"fchmod": {func(o *Options) { o.Lacking = rights.Of(rights.Fchmod) },
			[]string{"chmod", "fchmod", "fchmodat", "fchmodat2", "fremovexattr", "fsetxattr", "lremovexattr", "lsetxattr",
				"removexattr", "removexattrat", "setxattr", "setxattrat"}, true},
		"ftruncate": {func(o *Options) { o.Lacking = rights.Of(rights.Ftruncate) },
			[]string{"creat", "ftruncate", "open", "openat", "openat2", "truncate"}, true},
		"landlock": {func(o *Options) { o.Engine = policy.EngineLandlock },
			[]string{"open", "stat", "statx", "execve", "getcwd", "fchdir", "fchmod", "fchown", "fsetxattr", "utimensat", "flock",
				"prlimit64", "inotify_add_watch"}, false},
		"landlock, no signal scope": {func(o *Options) { o.Engine, o.SignalScope = policy.EngineLandlock, false },
			[]string{"kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"}, false},
		"nobody to ask": {func(o *Options) { o.Engine, o.NoSupervisor = policy.EngineLandlock, unix.EACCES }, nil, false},
	} {
		got := asks(c.change)
		want := append(slices.Clone(always), c.more...)
		if name == "nobody to ask" {
			want = nil
		}
		slices.Sort(want)
		if c.all && !slices.Equal(got, want) {
			t.Errorf("%s: %v ask, want %v", name, got, want)
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%s: %s does not ask", name, w)
			}
		}
		if len(want) == 0 && len(got) > 0 {
			t.Errorf("%s: %v ask", name, got)
		}
	}
}

// TestNamesAreJudged: under the landlock engine no call that takes a name, or a
// name inside a structure, reaches the kernel unjudged.
func TestNamesAreJudged(t *testing.T) {
	for _, library := range []bool{false, true} {
		namesAreJudged(t, Options{Engine: policy.EngineLandlock, SignalScope: true, PtraceScope: true, Library: library})
	}
}

func namesAreJudged(t *testing.T, o Options) {
	for _, row := range Rows() {
		if !slices.Contains(sysno.Args(row.Name), sysno.Path) {
			continue
		}
		rules, err := row.active(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules {
			noName := slices.ContainsFunc(r.Args, func(a ArgTest) bool { return a.Text == "no name" })
			if r.Do == Pass && !noName {
				t.Errorf("%s passes: %s", row.Name, r.Reason)
			}
		}
	}
}

func TestGuardable(t *testing.T) {
	if Guardable().IsSet(rights.Lookup) {
		t.Error("lookup is guarded by mounts and the supervisor's walk, not by a call")
	}
	for _, r := range []rights.Right{
		rights.Fstat, rights.Fstatfs, rights.Ftruncate, rights.Flock, rights.Fchmod, rights.Fchown, rights.Futimes,
		rights.ExtattrGet, rights.ExtattrSet, rights.ExtattrList, rights.ExtattrDelete, rights.AclGet, rights.AclSet,
		rights.AclDelete, rights.InotifyAdd,
	} {
		if !Guardable().IsSet(r) {
			t.Errorf("%s is not guardable", rights.Of(r))
		}
		o := Options{Engine: policy.EngineNamespaces, SignalScope: true, PtraceScope: true, Lacking: rights.Of(r)}
		with := Asks(o)
		o.Lacking = rights.Set{}
		if without := Asks(o); len(with) <= len(without) {
			t.Errorf("no call asks when a grant lacks %s", rights.Of(r))
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{}, {Engine: policy.EngineAuto}, {Engine: policy.EngineLandlock, Mode: 7}} {
		if prog, err := Compile(sysno.AMD64, o); err == nil {
			t.Errorf("%+v compiles to %d instructions", o, len(prog))
		}
	}
	if _, err := Compile(sysno.I386, Options{Engine: policy.EngineLandlock}); err == nil {
		t.Error("a 32-bit filter compiles")
	}
}

func TestDocumentIsCurrent(t *testing.T) {
	got, err := os.ReadFile("../../docs/syscalls.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, Markdown()) {
		t.Error("docs/syscalls.md is not what the table says; run go generate ./internal/syscalls")
	}
}
