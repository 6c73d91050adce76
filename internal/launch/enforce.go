package launch

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/capsicum-go/capsicum/internal/landlock"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/rights"
)

// Choice says which engine enforces a plan and what enforces each line of it.
type Choice struct {
	Engine policy.Engine
	Lines  []Enforced
	Losses []Loss // accepted with --allow-weaker

	Library Library
}

// Enforced is one line of a dry run: what exists, and who keeps it to its rights.
type Enforced struct {
	What   string     `json:"what"`
	Rights rights.Set `json:"rights"`
	By     []string   `json:"by"`
}

// Loss is something the policy asks for that cannot be enforced here.
type Loss struct {
	Name string `json:"name"` // what --allow-weaker takes
	What string `json:"what"` // the grant it concerns
	Why  string `json:"why"`
}

// Who enforces.
const (
	byMount      = "mount"
	byLandlock   = "landlock"
	byFilter     = "seccomp"
	bySupervisor = "supervisor"
	byKernel     = "kernel"
)

// guard says, for a right that a grant lacks, what keeps its operations from
// happening under the namespaces engine. A right with no guard on this kernel is
// a loss.
type guard struct {
	right rights.Right
	mount mountGuard
	abi   int  // the first Landlock ABI that refuses it, 0 for none
	asks  bool // the filter asks the supervisor
}

// mountGuard says when an entry's mount attributes refuse an operation.
type mountGuard uint8

const (
	never        mountGuard = iota
	whenReadOnly            // MOUNT_ATTR_RDONLY
	always                  // MOUNT_ATTR_NOEXEC
)

// guards covers every right that means something for a file or directory grant
// and that is not inherent in an open file.
var guards = []guard{
	{rights.Read, never, 1, false},
	{rights.Write, whenReadOnly, 1, false},
	{rights.Fexecve, always, 1, false},
	{rights.Create, whenReadOnly, 1, false},
	{rights.Mkdirat, whenReadOnly, 1, false},
	{rights.Mkfifoat, whenReadOnly, 1, false},
	{rights.Mknodat, whenReadOnly, 1, false},
	{rights.Symlinkat, whenReadOnly, 1, false},
	{rights.Unlinkat, whenReadOnly, 1, false},
	{rights.RenameatSource, whenReadOnly, 2, false},
	{rights.RenameatTarget, whenReadOnly, 2, false},
	{rights.LinkatTarget, whenReadOnly, 2, false},
	{rights.Ftruncate, whenReadOnly, 3, true},
	{rights.Fchmod, whenReadOnly, 0, true},
	{rights.Fchown, whenReadOnly, 0, true},
	{rights.Futimes, whenReadOnly, 0, true},
	{rights.Fchflags, whenReadOnly, 0, true},
	{rights.ExtattrSet, whenReadOnly, 0, true},
	{rights.ExtattrDelete, whenReadOnly, 0, true},
	{rights.ExtattrGet, never, 0, true},
	{rights.ExtattrList, never, 0, true},
	{rights.InotifyAdd, never, 0, true},
	{rights.Flock, never, 0, true},
	{rights.Fstat, never, 0, true},
	{rights.Fstatfs, never, 0, true},
	{rights.Bindat, never, 0, true},
	{rights.Connectat, never, 0, true},
}

// inherent are the rights that come with any open file on Linux: no part of the
// kernel takes them away from a descriptor that may be read or written.
var inherent = []rights.Right{rights.Seek, rights.MmapR, rights.Fcntl, rights.Event, rights.Fpathconf}

// facts are the kernel's abilities that enforcement depends on.
type facts struct {
	abi    int  // Landlock
	copies bool // pidfd_getfd works
}

// observe tries them, once.
var observe = sync.OnceValues(func() (facts, error) {
	abi, err := landlock.ABI()
	return facts{abi: abi, copies: sys.CanCopyDescriptors()}, err
})

// lacking returns the rights that some entry withholds and that only the
// supervisor can withhold, so that their calls ask.
func lacking(pl *plan.Plan, engine policy.Engine, f facts) rights.Set {
	var out rights.Set
	for i := range pl.Entries {
		e := &pl.Entries[i]
		if e.Kind == plan.Proc || e.Kind == plan.Device || e.Kind == plan.Devpts {
			continue
		}
		outer := pl.Outer(e.Dest)
		for _, g := range guards {
			if g.asks && !e.Rights.IsSet(g.right) && !g.native(e, outer, engine, f) {
				out.Set(g.right)
			}
		}
	}
	return out
}

// native reports whether the kernel itself refuses g's operations beneath e. It
// does nothing of the kind under the landlock engine, where the supervisor opens
// everything. A Landlock rule for a tree reaches through the mount points in it,
// so a right that the enclosing entries grant, outer, is withheld by mount
// attributes only.
func (g guard) native(e *plan.Entry, outer rights.Set, engine policy.Engine, f facts) bool {
	if engine == policy.EngineLandlock {
		return false
	}
	if g.mount == always || g.mount == whenReadOnly && plan.ReadOnly(e.Rights) {
		return true
	}
	return g.abi != 0 && f.abi >= g.abi && !outer.IsSet(g.right)
}

// losses lists what the entries of pl ask for and nobody here can enforce.
func losses(pl *plan.Plan, engine policy.Engine, f facts) []Loss {
	var out []Loss
	for i := range pl.Entries {
		e := &pl.Entries[i]
		if e.Source == "" || e.Kind == plan.Device {
			continue
		}
		what := strings.Join(e.Origin, ", ")
		for _, r := range inherent {
			if e.Rights.IsSet(r) || !(e.Rights.IsSet(rights.Read) || e.Rights.IsSet(rights.Write)) {
				continue
			}
			out = append(out, Loss{Name: rights.Of(r).String(), What: what,
				Why: "an open file always has it under Linux"})
		}
		outer := pl.Outer(e.Dest)
		for _, g := range guards {
			if engine == policy.EngineNamespaces && !g.asks && !e.Rights.IsSet(g.right) && !g.native(e, outer, engine, f) {
				out = append(out, Loss{Name: rights.Of(g.right).String(), What: what,
					Why: g.why(f)})
			}
		}
	}
	return out
}

// why says what is missing for g to be enforced.
func (g guard) why(f facts) string {
	if f.abi >= g.abi {
		return "it is granted around it, and Landlock cannot take it back inside"
	}
	return fmt.Sprintf("it needs Landlock ABI %d, this kernel has %d", g.abi, f.abi)
}

// choose decides for one engine, or refuses naming what cannot be enforced.
func choose(p *policy.Policy, pl *plan.Plan, engine policy.Engine) (Choice, error) {
	if engine == policy.EngineNamespaces && dynamic() {
		return Choice{}, refuse("--engine=namespaces: %v", errDynamic)
	}
	f, err := observe()
	if err != nil {
		return Choice{}, err
	}
	c := Choice{Engine: engine}
	if c.Library, err = library(pl, engine, f); err != nil {
		return Choice{}, err
	}
	for _, l := range append(losses(pl, engine, f), engineLosses(p, pl, engine, f)...) {
		if !slices.Contains(p.AllowWeaker, l.Name) {
			return c, refuse("%s: %s cannot be enforced here: %s; grant it, or accept the loss with --allow-weaker=%s",
				l.What, l.Name, l.Why, l.Name)
		}
		c.Losses = append(c.Losses, l)
	}
	asks := lacking(pl, engine, f)
	for i := range pl.Entries {
		c.Lines = append(c.Lines, enforced(&pl.Entries[i], engine, f, asks))
	}
	return c, nil
}

// engineLosses lists what one engine as such cannot give.
func engineLosses(p *policy.Policy, pl *plan.Plan, engine policy.Engine, f facts) []Loss {
	if engine == policy.EngineNamespaces {
		return nil
	}
	var out []Loss
	if f.abi == 0 {
		out = append(out, Loss{"landlock", "--engine=landlock", "this kernel has no Landlock"})
	}
	if p.Hostname != "" {
		out = append(out, Loss{"hostname", "--hostname " + p.Hostname, "a host name of its own needs the namespaces engine"})
	}
	if p.Pty {
		out = append(out, Loss{"pty", "--pty", "terminals of its own need the namespaces engine"})
	}
	for i := range pl.Entries {
		e := &pl.Entries[i]
		if e.Source != "" && e.Source != e.Dest && e.Rights.IsSet(rights.Fexecve) {
			out = append(out, Loss{"fexecve", strings.Join(e.Origin, ", "),
				"a program can be executed only under its host name without a mount namespace"})
		}
	}
	return out
}

// enforced says who keeps e to its rights.
func enforced(e *plan.Entry, engine policy.Engine, f facts, asks rights.Set) Enforced {
	out := Enforced{What: e.Dest, Rights: e.Rights}
	switch {
	case engine == policy.EngineLandlock:
		out.By = []string{bySupervisor, byLandlock}
	case e.Source == "" && e.Kind != plan.Tmpfs:
		out.By = []string{byMount}
	default:
		out.By = []string{byMount}
		if f.abi > 0 {
			out.By = append(out.By, byLandlock)
		}
		if !asks.Minus(e.Rights).IsEmpty() {
			out.By = append(out.By, bySupervisor)
		}
	}
	return out
}

// filterOptions are what the filter is generated for.
func filterOptions(s *setup, f facts) syscalls.Options {
	asks := lacking(s.Plan, s.Engine, f)
	for _, h := range s.Held {
		for _, g := range guards {
			if g.asks && !h.Rights.IsSet(g.right) {
				asks.Set(g.right)
			}
		}
	}
	return syscalls.Options{
		Engine:        s.Engine,
		Net:           s.Net,
		SignalScope:   landlock.ScopesSignals(f.abi),
		AbstractScope: landlock.ScopesAbstractSockets(f.abi),
		UnixScope:     landlock.ResolvesSockets(f.abi),
		PtraceScope:   f.abi > 0,
		NoCopies:      !f.copies,
		Lacking:       asks,
		Flock:         asks.IsSet(rights.Flock),
		Library:       s.Library,
	}
}
