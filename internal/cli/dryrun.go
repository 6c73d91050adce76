package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/capsicum-go/capsicum/internal/launch"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/rights"
)

// planSchema names the form of --dry-run --json; see statusSchema.
const planSchema = "capsicum.plan/1"

// dryRun is everything that --dry-run says, as it is printed in JSON.
type dryRun struct {
	Schema      string          `json:"schema"`
	Engine      policy.Engine   `json:"engine"`
	Program     plan.Program    `json:"program"`
	Cwd         string          `json:"cwd"`
	Entries     []dryEntry      `json:"entries"`
	Links       []plan.Link     `json:"links,omitempty"`
	Dirs        []string        `json:"dirs"`
	Environment []string        `json:"environment"`
	Descriptors []dryDescriptor `json:"descriptors"`
	Network     string          `json:"network"` // none, host
	Hostname    string          `json:"hostname,omitempty"`
	Limits      []dryLimit      `json:"limits,omitempty"`
	Linger      bool            `json:"linger,omitempty"`
	Losses      []launch.Loss   `json:"losses,omitempty"` // accepted by --allow-weaker
	Library     *launch.Library `json:"library,omitempty"`
}

type dryEntry struct {
	Dest   string     `json:"dest"`
	Source string     `json:"source,omitempty"`
	Kind   plan.Kind  `json:"kind"`
	Rights rights.Set `json:"rights"`
	Set    string     `json:"set,omitempty"` // the flag that grants the same
	Origin []string   `json:"origin"`
	By     []string   `json:"by"`
}

type dryDescriptor struct {
	Num    int         `json:"num"`
	Rights *rights.Set `json:"rights,omitempty"` // absent: what it was opened for
	Origin string      `json:"origin,omitempty"`
}

type dryLimit struct {
	Resource string `json:"resource"`
	Value    uint64 `json:"value"`
	Origin   string `json:"origin"`
}

func newDryRun(p *policy.Policy, pl *plan.Plan, c launch.Choice) *dryRun {
	d := &dryRun{
		Schema: planSchema, Engine: c.Engine, Program: pl.Program, Cwd: pl.Cwd, Links: pl.Links, Dirs: pl.Dirs,
		Environment: slices.Sorted(slices.Values(p.Env)), Network: "none", Hostname: p.Hostname,
		Linger: p.Linger, Losses: c.Losses,
	}
	if c.Library.For != "" {
		d.Library = &c.Library
	}
	if p.Net {
		d.Network = "host"
	}
	by := map[string][]string{}
	for _, line := range c.Lines {
		by[line.What] = line.By
	}
	for _, e := range pl.Entries {
		entry := dryEntry{Dest: e.Dest, Source: e.Source, Kind: e.Kind, Rights: e.Rights, Origin: e.Origin, By: by[e.Dest]}
		if name := setName(e.Rights); name != e.Rights.String() {
			entry.Set = name
		}
		d.Entries = append(d.Entries, entry)
	}
	named := map[int]bool{}
	for _, fd := range p.FDs {
		named[fd.Num] = true
		d.Descriptors = append(d.Descriptors, dryDescriptor{fd.Num, fd.Rights, fd.Flag})
	}
	for n := range 3 {
		if !named[n] && inherited(n) {
			d.Descriptors = append(d.Descriptors, dryDescriptor{Num: n})
		}
	}
	slices.SortFunc(d.Descriptors, func(a, b dryDescriptor) int { return a.Num - b.Num })
	for _, l := range p.Limits {
		d.Limits = append(d.Limits, dryLimit{l.Resource, l.Value, l.Flag})
	}
	return d
}

// print writes it for a person: one line an entry, then the rest.
func (d *dryRun) print(w io.Writer) error {
	var long footnotes
	t := newTable(w, "NAME", "SOURCE", "KIND", "RIGHTS", "FROM", "ENFORCED BY")
	for _, e := range d.Entries {
		source := shown(e.Source)
		if e.Source == e.Dest {
			source = "="
		}
		if source == "" {
			source = "-"
		}
		t.row(shown(e.Dest), source, string(e.Kind), long.short(setName(e.Rights)), shown(joined(e.Origin)), joined(e.By))
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = newTable(w)
	for i, list := range long {
		t.row(fmt.Sprintf("set %d", i+1), list)
	}
	for _, l := range d.Links {
		t.row("link", shown(l.Path)+" -> "+shown(l.Target), "("+shown(l.Origin)+")")
	}
	t.row("program", shown(d.Program.Path))
	t.row("arguments", quoted(d.Program.Argv))
	t.row("directory", shown(d.Cwd))
	for _, kv := range d.Environment {
		t.row("environment", shown(kv))
	}
	for _, fd := range d.Descriptors {
		if fd.Rights != nil {
			t.row("descriptor", fmt.Sprintf("%d=%s", fd.Num, setName(*fd.Rights)))
		} else {
			t.row("descriptor", strconv.Itoa(fd.Num))
		}
	}
	t.row("network", d.Network)
	if d.Hostname != "" {
		t.row("hostname", shown(d.Hostname))
	}
	for _, l := range d.Limits {
		t.row("limit", fmt.Sprintf("%s=%d", l.Resource, l.Value))
	}
	if d.Linger {
		t.row("linger", "processes left behind go on")
	}
	t.row("engine", string(d.Engine))
	if l := d.Library; l != nil && l.Supervised {
		t.row("confines itself", "supervised", "("+shown(l.For)+")")
	} else if l != nil {
		t.row("confines itself", "static", "("+shown(l.For)+": "+l.Why+")")
	}
	for _, l := range d.Losses {
		t.row("weaker", l.Name, fmt.Sprintf("%s: %s", shown(l.What), l.Why))
	}
	return t.flush()
}

// footnotes are lists of rights too long for a column.
type footnotes []string

// short returns the list, or the name of the footnote it became.
func (f *footnotes) short(list string) string {
	const column = 32
	if len(list) <= column {
		return list
	}
	i := slices.Index(*f, list)
	if i < 0 {
		*f = append(*f, list)
		i = len(*f) - 1
	}
	return fmt.Sprintf("set %d", i+1)
}

// quoted joins words so that a shell reads them back.
func quoted(argv []string) string {
	out := make([]string, len(argv))
	for i, arg := range argv {
		out[i] = shown(arg)
		if out[i] == arg && (arg == "" || strings.ContainsAny(arg, " '\"\\$`*?[](){}<>|&;#~!")) {
			out[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}
