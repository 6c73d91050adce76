package slot

import (
	"reflect"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// Test is, with Clause, Demand and Call, the package's tables as plain data. The C
// library compiles static filters too, in processes that can start no other, and
// has its tables from here.
type Test struct {
	Arg    int
	Op     int // in, notIn, above, anyOf, noneOf: 0 to 4
	Wide   bool
	Mask   uint32
	Values []uint64 // [TheFD] stands for the descriptor's number
}

// Clause is a clause of a filter: errno if every test holds.
type Clause struct {
	Tests []Test
	Errno unix.Errno
}

// The kinds of demands.
const (
	DemandRights   = iota // the rights named
	DemandCommands        // what the fcntl command needs
	DemandControls        // the list of ioctl commands
	DemandMarks           // what the fanotify_mark needs
	DemandAll             // nothing limited has it
)

// Demand is what a call asks of the descriptor in one of its registers.
type Demand struct {
	Arg      int
	Kind     int
	Rights   [2]uint64
	Tests    []Test
	ReadOnly bool // of a file that is not open for writing
	Writable bool // of any other
}

// Call is what a static filter of a descriptor makes of a call.
type Call struct {
	Name    string
	Demands []Demand
	Refused bool     // capability mode refuses it whatever its arguments
	Left    []Clause // what passes in capability mode, whose own answer it is
	Own     []Clause // refused beside the demands, once for a number
	OwnMode []Clause // the same, in capability mode
	First   []Clause // refused from the first limit on
	Poll    []Clause // refused once something lacks CAP_EVENT
}

// Command is an fcntl command: its number, the rights that it needs, and the
// command whose bit of the mask governs it, or 0.
type Command struct {
	Number int
	Rights [2]uint64
	Mask   int
}

// TheFD stands for the number of the descriptor that a filter is for.
const TheFD = 1 << 41

// StaticCalls returns what [Descriptor] makes of each call where nobody can be
// asked.
func StaticCalls() []Call {
	demands := make(map[string][]Demand)
	for _, r := range table() {
		demands[r.name] = outDemands(r.needs)
	}
	own := unseenCalls(Options{Static: true})
	mode := Options{Static: true, CapabilityMode: true}
	ownMode := unseenCalls(mode)
	first, poll := outGroups(unseenGroups()), outGroups(pollGroups())
	var out []Call
	for _, name := range sysno.Names() {
		c := Call{
			Name: name, Demands: demands[name], Refused: refusedInMode(name), Left: outClauses(leftToMode(name, mode)),
			Own: own[name], First: first[name], Poll: poll[name],
		}
		if added := ownMode[name]; len(added) > 0 {
			c.OwnMode = added[len(c.Left):]
		}
		if len(c.Demands)+len(c.Own)+len(c.First)+len(c.Poll) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// Commands returns the fcntl commands that a limited descriptor may be used for.
func Commands() []Command {
	var out []Command
	for _, c := range commands() {
		out = append(out, Command{c.number, c.rights.Words(), c.mask})
	}
	return out
}

func unseenCalls(o Options) map[string][]Clause {
	p := program{calls: make(map[string][]clause)}
	p.unseen(TheFD, filecaps.Full(), o)
	out := make(map[string][]Clause)
	for name, list := range p.calls {
		out[name] = outClauses(list)
	}
	return out
}

func outGroups(groups []modeGroup) map[string][]Clause {
	out := make(map[string][]Clause)
	for _, g := range groups {
		for name := range strings.FieldsSeq(g.names) {
			out[name] = append(out[name], outClauses(g.refused)...)
		}
	}
	return out
}

func outClauses(list []clause) []Clause {
	var out []Clause
	for _, c := range list {
		out = append(out, Clause{outTests(c.tests), c.errno})
	}
	return out
}

func outTests(list []test) []Test {
	var out []Test
	for _, t := range list {
		out = append(out, Test{t.arg, int(t.op), t.wide, t.mask, t.values})
	}
	return out
}

func outDemands(list []need) []Demand {
	holds := func(n need, o Options) bool { return n.when == nil || n.when(o) }
	var out []Demand
	for _, n := range list {
		out = append(out, Demand{n.arg, demandKind(n), n.rights.Words(), outTests(n.tests),
			holds(n, Options{Static: true, ReadOnly: true}), holds(n, Options{Static: true})})
	}
	return out
}

// demandKind tells the functions of needs apart.
func demandKind(n need) int {
	at := func(f func(filecaps.Caps) []test) uintptr { return reflect.ValueOf(f).Pointer() }
	if n.list == nil {
		return DemandRights
	}
	for kind, f := range map[int]func(filecaps.Caps) []test{
		DemandCommands: refusedCommands, DemandControls: refusedControls, DemandMarks: refusedMarks, DemandAll: unlimited,
	} {
		if at(f) == at(n.list) {
			return kind
		}
	}
	panic("slot: a demand of an unknown kind")
}
