package launch

import (
	"testing"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
)

// TestLibrary: who has a supervisor for confining himself, and that --capsicum, or the
// library, is all that changes a filter.
func TestLibrary(t *testing.T) {
	with := plan.Program{Library: "--capsicum"}
	proc := []plan.Entry{{Dest: "/proc", Kind: plan.Proc}}
	able := facts{abi: 7, copies: true}
	for name, c := range map[string]struct {
		plan   plan.Plan
		engine policy.Engine
		facts  facts
		want   bool
	}{
		"as it should be":       {plan.Plan{Program: with, Entries: proc}, policy.EngineNamespaces, able, true},
		"no library":            {plan.Plan{Entries: proc}, policy.EngineNamespaces, able, false},
		"the other engine":      {plan.Plan{Program: with}, policy.EngineLandlock, able, true},
		"no copies there":       {plan.Plan{Program: with}, policy.EngineLandlock, facts{abi: 7}, false},
		"no copies":             {plan.Plan{Program: with, Entries: proc}, policy.EngineNamespaces, facts{abi: 7}, false},
		"no /proc":              {plan.Plan{Program: with}, policy.EngineNamespaces, able, false},
		"something for a /proc": {plan.Plan{Program: with, Entries: []plan.Entry{{Dest: "/proc", Kind: plan.Dir}}}, policy.EngineNamespaces, able, false},
		"no Landlock":           {plan.Plan{Program: with, Entries: proc}, policy.EngineNamespaces, facts{copies: true}, true},
	} {
		got, err := library(&c.plan, c.engine, c.facts)
		if err != nil || got.Supervised != c.want {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, c.want)
		}
		if c.plan.Program.Library != "" && got.Supervised == (got.Why != "") {
			t.Errorf("%s: supervised %v, because %q", name, got.Supervised, got.Why)
		}
		s := &setup{Plan: &c.plan, Engine: c.engine, Library: got.Supervised}
		if o := filterOptions(s, c.facts); o.Library != c.want {
			t.Errorf("%s: the filter asks what the library must ask: %v", name, o.Library)
		}
	}
}

// TestLinkPasses: the socket to init is used when nobody answers yet.
func TestLinkPasses(t *testing.T) {
	for number, want := range map[int]bool{2: false, 3: true, 255: true, 256: false, 1000: false} {
		if got := (&children{link: link{program: number}}).linkPasses(); got != want {
			t.Errorf("%d: %v, want %v", number, got, want)
		}
	}
}
