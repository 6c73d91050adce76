// Package syscalls holds the one closed table of system calls: every number of
// every supported architecture has a row, and a row says pass, refuse or ask.
// The filter, the supervisor's dispatch, docs/syscalls.md and the tests are all
// made from it. A number without a row is refused with ENOSYS, as is every call
// of a foreign architecture.
//
// A filter sees the number and the argument registers, never memory. So a rule
// decides by registers, or leaves the decision to a part of the kernel that
// sees the object itself, or asks the supervisor, which copies memory once and
// acts on its copy.
package syscalls

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"golang.org/x/sys/unix"
)

//go:generate go run ./gen

// Row is one system call. The first rule that holds decides; the last one is
// unconditional.
type Row struct {
	Name     string
	Doc      string
	Rules    []Rule // of a wrapped program
	attached []Rule // of a process that confines itself
}

// In returns the rules of row under mode m.
func (row *Row) In(m Mode) []Rule {
	if m == Attached {
		return row.attached
	}
	return row.Rules
}

// group is a number of rows with the same rules.
type group struct {
	names string // separated by white space
	doc   string
	rules []Rule
}

// table is the table by name, made when it is first needed.
var table = sync.OnceValue(func() map[string]*Row {
	out := make(map[string]*Row, 512)
	for _, family := range families() {
		for _, g := range family.groups() {
			for name := range strings.FieldsSeq(g.names) {
				if out[name] != nil {
					panic("syscalls: two rows for " + name)
				}
				out[name] = &Row{Name: name, Doc: g.doc, Rules: g.rules, attached: passes}
			}
		}
	}
	for _, g := range attachedGroups() {
		for name := range strings.FieldsSeq(g.names) {
			if row := out[name]; row == nil || &row.attached[0] != &passes[0] {
				panic("syscalls: two rows, or none, for " + name)
			}
			out[name].attached = g.rules
		}
	}
	return out
})

// passes are the rules of calls that no descriptor's rights are about.
var passes = []Rule{pass("about no descriptor")}

// family is a chapter of the documentation. Its groups are made by a function,
// so that a start that compiles no filter does not pay for them.
type family struct {
	title  string
	groups func() []group
}

func families() []family {
	return []family{
		{"Names and files", fileGroups},
		{"Metadata", metadataGroups},
		{"Descriptors", descriptorGroups},
		{"ioctl and fcntl", controlGroups},
		{"Sockets", socketGroups},
		{"Processes", processGroups},
		{"Signals and other processes", peerGroups},
		{"Memory", memoryGroups},
		{"Time and waiting", timeGroups},
		{"Messages and shared memory", ipcGroups},
		{"The machine", systemGroups},
	}
}

// Rows returns every row, sorted by name.
func Rows() []*Row {
	out := make([]*Row, 0, len(table()))
	for _, r := range table() {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *Row) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// unlisted is the verdict for what has no row.
var unlisted = Errno(unix.ENOSYS)

// Lookup says what the table says of one call: the model that filters are
// tested against. The row is nil for a number without one.
func Lookup(arch sysno.Arch, nr uint32, args [6]uint64, o Options) (Verdict, *Row) {
	if nr == request.Number && o.requests() {
		return o.final(Ask), nil
	}
	row, rule := find(arch, nr, args, o)
	if rule == nil {
		return unlisted, row
	}
	return o.final(rule.Do), row
}

// Asked reports whether one call asks under o.
func Asked(arch sysno.Arch, nr uint32, args [6]uint64, o Options) bool {
	v, _ := Lookup(arch, nr, args, o)
	return v == Ask
}

// MayContinue reports whether the table allows the kernel to carry out a call
// after a look: whether its rule passes it anyway, or states why.
func MayContinue(arch sysno.Arch, nr uint32, args [6]uint64, o Options) bool {
	_, rule := find(arch, nr, args, o)
	return rule != nil && (rule.Do == Pass || rule.Continue != "")
}

// find returns the row and the rule that decide one call, nil where none does.
func find(arch sysno.Arch, nr uint32, args [6]uint64, o Options) (*Row, *Rule) {
	name, ok := sysno.Name(arch, int(nr))
	if !ok {
		return nil, nil
	}
	row := table()[name]
	if row == nil {
		return nil, nil
	}
	if !o.Library {
		return row, first(row.In(o.Mode), o, args)
	}
	own, run := first(row.attached, o, args), first(row.Rules, o, args)
	if own == nil || run == nil {
		return row, nil
	}
	both := stricter(own, run)
	return row, &both
}

// first returns the first rule that applies to a call.
func first(rules []Rule, o Options, args [6]uint64) *Rule {
	for i := range rules {
		if r := &rules[i]; r.holds(o, args) {
			return r
		}
	}
	return nil
}

// holds reports whether r applies to a call.
func (r *Rule) holds(o Options, args [6]uint64) bool {
	if !r.When.Holds(o) {
		return false
	}
	for _, t := range r.Args {
		if !t.Holds(args) {
			return false
		}
	}
	return true
}

// final turns a question into a refusal when there is nobody to ask.
func (o Options) final(v Verdict) Verdict {
	if v == Ask && o.NoSupervisor != 0 {
		return Errno(o.NoSupervisor)
	}
	return v
}

// active returns the rules of row that can decide under o: those whose
// condition holds, up to the first without arguments, less the ones that an
// earlier rule leaves nothing to, and the ones whose verdict is the same as what
// comes after them anyway.
func (row *Row) active(o Options) ([]Rule, error) {
	if !o.Library {
		return row.reach(row.In(o.Mode), o)
	}
	own, err := row.reach(row.attached, o)
	if err != nil {
		return nil, err
	}
	run, err := row.reach(row.Rules, o)
	if err != nil {
		return nil, err
	}
	return row.reach(both(own, run), o)
}

func (row *Row) reach(rules []Rule, o Options) ([]Rule, error) {
	out := make([]Rule, 0, len(rules))
	for _, r := range rules {
		if !r.When.Holds(o) {
			continue
		}
		r.Do = o.final(r.Do)
		if len(r.Args) > 0 && slices.ContainsFunc(out, func(e Rule) bool { return sameTests(e, r) }) {
			continue
		}
		out = append(out, r)
		if len(r.Args) > 0 {
			continue
		}
		for len(out) > 1 && out[len(out)-2].Do == r.Do {
			out = slices.Delete(out, len(out)-2, len(out)-1)
		}
		return out, nil
	}
	return nil, fmt.Errorf("row %s: no rule without condition: %w", row.Name, unix.EINVAL)
}

// sameTests reports whether a and b look at the same.
func sameTests(a, b Rule) bool {
	return slices.EqualFunc(a.Args, b.Args, func(x, y ArgTest) bool { return x.same(y) })
}

// Asks returns the names of the calls that may ask under o, on any
// architecture, sorted.
func Asks(o Options) []string {
	var out []string
	for _, row := range Rows() {
		rules, err := row.active(o)
		if err == nil && slices.ContainsFunc(rules, func(r Rule) bool { return r.Do == Ask }) {
			out = append(out, row.Name)
		}
	}
	return out
}
