package supervisor

import (
	"slices"
	"testing"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"golang.org/x/sys/unix"
)

// everyOption goes through all options a filter can be made for.
func everyOption(engine policy.Engine, f func(Options)) {
	flags := []func(*Options, bool){
		func(o *Options, on bool) { o.Net = on },
		func(o *Options, on bool) { o.Dgram = on },
		func(o *Options, on bool) { o.SignalScope = on },
		func(o *Options, on bool) { o.AbstractScope = on },
		func(o *Options, on bool) { o.UnixScope = on },
		func(o *Options, on bool) { o.PtraceScope = on },
		func(o *Options, on bool) { o.Flock = on },
		func(o *Options, on bool) { o.NoCopies = on },
		func(o *Options, on bool) {
			if on {
				o.Lacking = syscalls.Guardable()
			}
		},
	}
	for bits := range 1 << len(flags) {
		o := Options{Engine: engine}
		for i, set := range flags {
			set(&o, bits>>i&1 == 1)
		}
		f(o)
	}
}

func TestEveryCallThatAsksHasAHandlerAndTheReverse(t *testing.T) {
	for _, engine := range []policy.Engine{policy.EngineNamespaces, policy.EngineLandlock} {
		table := Handlers(engine)
		asked := map[string]bool{}
		everyOption(engine, func(o Options) {
			for _, name := range syscalls.Asks(o) {
				asked[name] = true
			}
		})
		if len(asked) == 0 {
			t.Fatalf("%s: nothing asks", engine)
		}
		for name := range asked {
			if table[name] == nil {
				t.Errorf("%s: %s asks and has no handler", engine, name)
			}
		}
		for name := range table {
			if !asked[name] && !sharedBetweenEngines(name) {
				t.Errorf("%s: %s has a handler and never asks", engine, name)
			}
		}
	}
}

// sharedBetweenEngines tells handlers that one engine has because the other
// needs them.
func sharedBetweenEngines(name string) bool {
	return slices.ContainsFunc(handlers(), func(a answer) bool { return a.call == name })
}

func TestNoCallHasTwoHandlers(t *testing.T) {
	for _, engine := range []policy.Engine{policy.EngineNamespaces, policy.EngineLandlock} {
		seen := map[string]bool{}
		for _, a := range answersOf(engine) {
			if seen[a.call] || a.by == nil {
				t.Errorf("%s: %s is there twice, or without a handler", engine, a.call)
			}
			seen[a.call] = true
		}
	}
}

func TestSharedHandlersAreAskedBySomeEngine(t *testing.T) {
	asked := map[string]bool{}
	for _, engine := range []policy.Engine{policy.EngineNamespaces, policy.EngineLandlock} {
		everyOption(engine, func(o Options) {
			for _, name := range syscalls.Asks(o) {
				asked[name] = true
			}
		})
	}
	for _, a := range handlers() {
		if !asked[a.call] {
			t.Errorf("%s has a handler and never asks", a.call)
		}
	}
}

func TestGuardedRightsAreJudged(t *testing.T) {
	// Each need names rights that the table guards; a right of one that the
	// table does not guard would never be asked about.
	guarded := syscalls.Guardable()
	for name, n := range map[string]need{
		"chmod": toChmod, "chown": toChown, "times": toSetTimes, "truncate": toTruncate, "stat": toStat, "statfs": toStatfs,
		"watch": toWatch, "get": toGetAttr, "list": toListAttr, "set": toSetAttr, "remove": toRemoveAttr,
		"get acl": toGetACL, "set acl": toSetACL, "remove acl": toRemoveACL,
	} {
		for _, r := range n.anyOf {
			if !guarded.IsSet(r) {
				t.Errorf("%s is judged by %s, which the table does not guard", name, r)
			}
		}
		if n.refused == 0 || n.refused == unix.ENOSYS {
			t.Errorf("%s is refused with %v", name, n.refused)
		}
	}
}
