package resolve

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/rights"
)

// beneath reports whether name is dir or lies in it.
func beneath(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// seen returns the entry that a name of the sandbox lies in, and the host name
// it shows.
func seen(p *plan.Plan, name string) (*plan.Entry, string) {
	var best *plan.Entry
	for i := range p.Entries {
		if beneath(name, p.Entries[i].Dest) {
			best = &p.Entries[i] // sorted: the last is the innermost
		}
	}
	if best == nil {
		return nil, ""
	}
	return best, path.Join(best.Source, strings.TrimPrefix(name, best.Dest))
}

// TestAuthority makes random sets of grants and checks that the plan gives
// everything that was granted and nothing else, whatever the order.
func TestAuthority(t *testing.T) {
	var names []string
	for _, a := range []string{"a", "b"} {
		for _, b := range []string{"", "/a", "/b"} {
			for _, c := range []string{"", "/a", "/f"} {
				names = append(names, "/"+a+b+c)
			}
		}
	}
	root := makefs(t, "w/", "p*", "a/f", "b/f", "a/a/f", "a/b/f", "b/a/f", "b/b/f", "a/a/a/", "a/b/a/", "b/a/a/", "b/b/a/")
	some := []rights.Set{policy.RO, policy.ROX, policy.RW, rights.Of(rights.Lookup, rights.Fchmod)}
	built := 0
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(append(names, "/"))
		grants := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Grant {
			g := policy.Grant{Source: name.Draw(t, "source"), Rights: rapid.SampledFrom(some).Draw(t, "rights")}
			g.Dest = g.Source
			if rapid.Bool().Draw(t, "mapped") {
				g.Dest = rapid.SampledFrom(append(names, "/x", "/x/a", "/x/a/b")).Draw(t, "dest")
			}
			g.Flag = fmt.Sprintf("%s:%s=%s", g.Source, g.Dest, g.Rights)
			return g
		}), 1, 6).Draw(t, "grants")
		p := &policy.Policy{Argv: []string{"/p"}, Tmp: rapid.Bool().Draw(t, "tmp"), Grants: grants}
		got, err := Build(p, Host{Root: root, Cwd: "/w"})

		shuffled := *p
		shuffled.Grants = rapid.Permutation(grants).Draw(t, "order")
		again, errAgain := Build(&shuffled, Host{Root: root, Cwd: "/w"})
		if (err == nil) != (errAgain == nil) {
			t.Fatalf("order matters: %v, %v", err, errAgain)
		}
		if err != nil {
			var typed *Error
			if !errors.As(err, &typed) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		built++
		if diff := cmp.Diff(dump(got), dump(again)); diff != "" {
			t.Fatalf("order matters:\n%s", diff)
		}
		checkAuthority(t, got, grants)
	})
	if built < 20 {
		t.Errorf("only %d plans were built", built)
	}
}

func checkAuthority(t *rapid.T, p *plan.Plan, grants []policy.Grant) {
	for _, g := range grants {
		if e, source := seen(p, g.Dest); e == nil || source != g.Source || !e.Rights.Contains(g.Rights) {
			t.Fatalf("%s: the sandbox has %+v, that is %s", g.Flag, e, source)
		}
	}
	for _, e := range p.Entries {
		if e.Source == "" {
			continue
		}
		var given rights.Set
		if e.Source == "/p" {
			given = closureOnly
		}
		for _, g := range grants {
			if beneath(e.Source, g.Source) {
				given = given.Union(g.Rights)
			}
		}
		if !given.Contains(e.Rights) {
			t.Fatalf("%s has %s, but only %s was granted", e.Dest, e.Rights, given)
		}
	}
}

// FuzzGrants checks that no text of two grants leads to a plan that is not valid.
func FuzzGrants(f *testing.F) {
	for _, seed := range [][2]string{{"/a", "/a/b:/x"}, {"?l/../a", "/f:/a/f"}, {"/", "/a:/a/b"}, {"/a:/l/b", "l"}, {"/a:/tmp/x/y", "../tmp"}} {
		f.Add(seed[0], seed[1], true)
	}
	root := makefs(f, "w/", "p*", "a/b/", "a/f", "f", "l => a", "a/up => ../l/b", "tmp/l => /a", "s => s")
	f.Fuzz(func(t *testing.T, x, y string, tmp bool) {
		p := &policy.Policy{Argv: []string{"/p"}, Tmp: tmp, Dev: tmp, Proc: tmp}
		for i, value := range []string{x, y} {
			g, err := policy.ParseGrant("--grant", value, policy.Sets()[i].Rights)
			if err != nil {
				return
			}
			p.Grants = append(p.Grants, g)
		}
		var typed *Error
		if got, err := Build(p, Host{Root: root, Cwd: "/w"}); err != nil && !errors.As(err, &typed) {
			t.Errorf("%q, %q: %v\n%+v", x, y, err, got)
		}
	})
}
