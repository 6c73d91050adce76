package launch

import (
	"slices"
	"testing"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/resolve"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/rights"
)

// named returns a named set, "ro" and so on.
func named(t *testing.T, name string) rights.Set {
	t.Helper()
	for _, s := range policy.Sets() {
		if s.Name == name {
			return s.Rights
		}
	}
	t.Fatalf("no named set %q", name)
	return rights.Set{}
}

func onePlan(set rights.Set) *plan.Plan {
	return &plan.Plan{Dirs: []string{"/"}, Cwd: "/",
		Entries: []plan.Entry{{Dest: "/p", Source: "/p", Kind: plan.Dir, Rights: set, Origin: []string{"--cap /p"}}}}
}

// Whatever guard says the filter asks, the filter must be able to ask.
func TestGuardsAreGuardable(t *testing.T) {
	always := map[rights.Right]string{rights.Bindat: "bind", rights.Connectat: "connect"}
	asks := syscalls.Asks(filterOptions(&setup{Plan: onePlan(named(t, "rwx")), Engine: policy.EngineNamespaces}, facts{abi: 7}))
	for _, g := range guards {
		if slices.Contains(asks, always[g.right]) {
			continue
		}
		if g.asks && !syscalls.Guardable().IsSet(g.right) {
			t.Errorf("%v is said to ask, and no call of the table asks for it", rights.Of(g.right))
		}
	}
}

// Every right of the named sets is withheld by somebody when it is not granted,
// or a known part of every open file.
func TestEveryRightIsGuarded(t *testing.T) {
	known := map[rights.Right]bool{rights.Lookup: true, rights.MmapW: true, rights.MmapX: true, rights.Mmap: true,
		rights.Fsync: true, rights.LinkatSource: true, rights.Ioctl: true, rights.InotifyRm: true, rights.SeekTell: true}
	for _, g := range guards {
		known[g.right] = true
	}
	for _, r := range inherent {
		known[r] = true
	}
	for _, single := range rights.Table() {
		if len(single.Components) > 0 || !named(t, "rwx").IsSet(single.Value) || known[single.Value] {
			continue
		}
		t.Errorf("nothing withholds %s", single.Name)
	}
}

func TestNamedSetsLoseNothing(t *testing.T) {
	for _, s := range policy.Sets() {
		for _, abi := range []int{2, 7} {
			if l := losses(onePlan(s.Rights), policy.EngineNamespaces, facts{abi: abi}); len(l) != 0 {
				t.Errorf("%s with Landlock ABI %d: %+v", s.Name, abi, l)
			}
		}
	}
}

func TestLosses(t *testing.T) {
	ro := named(t, "ro")
	cases := []struct {
		name string
		set  rights.Set
		abi  int
		want []string
	}{
		{"reading without seeking", ro.Minus(rights.Of(rights.Seek)), 7, []string{"seek"}},
		{"writing without creating, no Landlock", ro.Union(rights.Of(rights.Write, rights.Create)), 0,
			[]string{"mkdirat", "mkfifoat"}},
		{"the same with Landlock", ro.Union(rights.Of(rights.Write, rights.Create)), 3, nil},
		{"reading only, no Landlock", ro, 0, nil},
		{"looking up without reading, no Landlock", rights.Of(rights.Lookup, rights.Fstat), 0, []string{"read"}},
	}
	for _, c := range cases {
		got := losses(onePlan(c.set), policy.EngineNamespaces, facts{abi: c.abi})
		found := map[string]bool{}
		for _, l := range got {
			found[l.Name] = true
		}
		if len(c.want) == 0 && len(got) != 0 {
			t.Errorf("%s: losses %+v, want none", c.name, got)
		}
		for _, w := range c.want {
			if !found[w] {
				t.Errorf("%s: losses %+v, want %s among them", c.name, got, w)
			}
		}
	}
}

// Landlock goes up through mount points: a tree shown inside another one that
// may be changed is not protected by its own rule.
func TestOuterGrantsReachInside(t *testing.T) {
	outer, inner := named(t, "rw"), named(t, "ro").Union(rights.Of(rights.Write))
	pl := &plan.Plan{Dirs: []string{"/"}, Cwd: "/", Entries: []plan.Entry{
		{Dest: "/a", Source: "/a", Kind: plan.Dir, Rights: outer, Origin: []string{"--rw /a"}},
		{Dest: "/a/b", Source: "/x", Kind: plan.Dir, Rights: inner, Origin: []string{"--cap /x:/a/b"}},
	}}
	got := map[string]bool{}
	for _, l := range losses(pl, policy.EngineNamespaces, facts{abi: 7}) {
		got[l.Name] = true
	}
	for _, want := range []string{"create", "unlinkat"} {
		if !got[want] {
			t.Errorf("%s is not told as a loss: %v", want, got)
		}
	}
	if got["write"] {
		t.Error("write is granted and told as a loss")
	}
}

func TestLacking(t *testing.T) {
	ro, rw := named(t, "ro"), named(t, "rw")
	cases := []struct {
		name   string
		set    rights.Set
		engine policy.Engine
		want   rights.Right
		asks   bool
	}{
		{"a read-only mount refuses chmod", ro, policy.EngineNamespaces, rights.Fchmod, false},
		{"a writable one does not", rw.Minus(rights.Of(rights.Fchmod)), policy.EngineNamespaces, rights.Fchmod, true},
		{"without mounts somebody must", ro, policy.EngineLandlock, rights.Fchmod, true},
		{"exclusive locks under --ro", ro, policy.EngineNamespaces, rights.Flock, true},
		{"locks under --rw", rw, policy.EngineNamespaces, rights.Flock, false},
	}
	for _, c := range cases {
		if got := lacking(onePlan(c.set), c.engine, facts{abi: 7}).IsSet(c.want); got != c.asks {
			t.Errorf("%s: asks %v, want %v", c.name, got, c.asks)
		}
	}
}

// The filters of ordinary runs are compiled ahead, whatever the kernel.
func TestFiltersAreCompiledAhead(t *testing.T) {
	ahead := syscalls.Ahead()
	for name, p := range map[string]policy.Policy{
		"nothing":   {Dev: true, Proc: true},
		"system":    {Dev: true, Proc: true, System: true, Tmp: true},
		"network":   {Dev: true, Proc: true, System: true, Net: true},
		"directory": {Dev: true, Proc: true, Grants: []policy.Grant{{Flag: "--rw", Source: "/tmp", Dest: "/tmp", Rights: named(t, "rw")}}},
	} {
		p.Argv = []string{"/bin/true"}
		pl, err := resolve.Build(&p, resolve.Host{Cwd: "/"})
		if err != nil {
			t.Fatal(err)
		}
		for _, abi := range []int{0, 2, 6, 9} {
			o := filterOptions(&setup{Plan: pl, Engine: policy.EngineNamespaces, Net: p.Net}, facts{abi: abi, copies: true})
			if !slices.Contains(ahead, o) {
				t.Errorf("%s under Landlock %d: %+v is compiled at the start", name, abi, o)
			}
		}
	}
}
