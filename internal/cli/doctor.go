package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/capsicum-go/capsicum/internal/attach"
	"github.com/capsicum-go/capsicum/internal/launch"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/probe"
	"github.com/capsicum-go/capsicum/internal/roster"
	"github.com/capsicum-go/capsicum/rights"
)

// doctorSchema names the form of doctor --json; see statusSchema.
const doctorSchema = "capsicum.doctor/1"

type doctorCmd struct {
	line
	JSON toggle `long:"json" optional:"1" optional-value:"yes" in:"Output" description:"Print JSON."`
}

type diagnosis struct {
	Schema string `json:"schema"`
	probe.Report
	Engines []engineState `json:"engines"`
	Library libraryState  `json:"library"`
	Grants  []grantState  `json:"grants"`
}

// libraryState is the form that a program which confines itself has here.
type libraryState struct {
	Form  roster.Form `json:"form"`
	Why   string      `json:"why"`
	InRun roster.Form `json:"in_run"` // under the first engine that works
	But   string      `json:"but,omitempty"`
}

// engineState says whether an engine works here, and what is in its way.
type engineState struct {
	Engine  policy.Engine `json:"engine"`
	Works   bool          `json:"works"`
	Missing []string      `json:"missing,omitempty"`
	Loses   []string      `json:"loses,omitempty"` // what is slower or weaker for want of it
}

// grantState says what enforces one kind of grant under each engine.
type grantState struct {
	Grant      string `json:"grant"`
	Namespaces string `json:"namespaces"`
	Landlock   string `json:"landlock"`
}

// need is the probe's word for an engine.
var need = map[policy.Engine]probe.Need{
	policy.EngineNamespaces: probe.NeedNamespaces,
	policy.EngineLandlock:   probe.NeedLandlock,
}

var engines = []policy.Engine{policy.EngineNamespaces, policy.EngineLandlock}

func (c *doctorCmd) run(a *app) (int, error) {
	d := diagnose(probe.Run())
	form, why := attach.Try()
	d.Library = library(d.Report, form, why)
	d.Library.InRun, d.Library.But = inRun(d.Engines)
	status := exitMissing
	for _, e := range d.Engines {
		if e.Works {
			status = exitOK
		}
	}
	if c.JSON {
		return status, writeJSON(a.Out, d)
	}
	return status, d.print(a.Out)
}

func diagnose(r probe.Report) diagnosis {
	d := diagnosis{Schema: doctorSchema, Report: r}
	works := map[policy.Engine]bool{}
	for _, engine := range engines {
		s := engineState{Engine: engine}
		for _, e := range r.Missing(need[engine]) {
			s.Missing = append(s.Missing, e.Name)
		}
		for _, e := range r.Missing(probe.Want) {
			if e.Need == probe.Want {
				s.Loses = append(s.Loses, e.Name)
			}
		}
		s.Works = len(s.Missing) == 0
		works[engine] = s.Works
		d.Engines = append(d.Engines, s)
	}
	for _, k := range kinds() {
		d.Grants = append(d.Grants, grantState{
			Grant:      k.name,
			Namespaces: k.enforced(policy.EngineNamespaces, works),
			Landlock:   k.enforced(policy.EngineLandlock, works),
		})
	}
	return d
}

// library says what was found by trying, and which building block explains it.
func library(r probe.Report, form roster.Form, why error) libraryState {
	if form == roster.Supervised {
		return libraryState{Form: form, Why: "a supervisor could look into it, and answers what its filter asks"}
	}
	text := message(why)
	for _, name := range []string{probe.Listener, probe.PidfdGetfd} {
		if e, ok := r.Entry(name); ok && !e.OK {
			text += fmt.Sprintf("; %s: %s", name, e.Errno)
		}
	}
	if form == roster.Static {
		return libraryState{Form: form, Why: "what its filters would ask is refused: " + text}
	}
	return libraryState{Form: form, Why: "it can't be confined: " + text}
}

// inRun asks the code that a start asks which form such a program has in a run, and why
// not a better one.
func inRun(engines []engineState) (roster.Form, string) {
	for _, e := range engines {
		if !e.Works {
			continue
		}
		pl := &plan.Plan{Entries: []plan.Entry{{Dest: "/proc", Kind: plan.Proc, Rights: policy.RO}}, Dirs: []string{"/"}, Cwd: "/",
			Program: plan.Program{Library: "example"}}
		choice, err := launch.Choose(&policy.Policy{Argv: []string{"true"}, Engine: e.Engine, Proc: true}, pl)
		switch {
		case err != nil:
			return roster.Free, message(err)
		case choice.Library.Supervised:
			return roster.Supervised, ""
		}
		return roster.Static, choice.Library.Why
	}
	return roster.Free, "no engine works here"
}

// kind is one kind of grant, put to the test on a policy that has only it.
type kind struct {
	name   string
	rights rights.Set           // of a tree, when it is a file grant
	adjust func(*policy.Policy) // when it is not
	fixed  map[policy.Engine]string
}

// kinds are made when they are asked for: every start would pay for a table.
func kinds() []kind {
	return []kind{
		{name: "--ro", rights: policy.RO},
		{name: "--rox", rights: policy.ROX},
		{name: "--rw", rights: policy.RW},
		{name: "--rwx", rights: policy.RWX},
		{name: "--cap (ro and fchmod)", rights: policy.RO.Union(rights.Of(rights.Fchmod))},
		{name: "--pty", adjust: func(p *policy.Policy) { p.Pty = true }, fixed: map[policy.Engine]string{
			policy.EngineNamespaces: "a devpts of its own",
			policy.EngineLandlock:   "supervisor",
		}},
		{name: "--hostname", adjust: func(p *policy.Policy) { p.Hostname = "sandbox" }, fixed: map[policy.Engine]string{
			policy.EngineNamespaces: "uts namespace",
			policy.EngineLandlock:   "supervisor",
		}},
		{name: "--limit", fixed: map[policy.Engine]string{
			policy.EngineNamespaces: "rlimit of each process",
			policy.EngineLandlock:   "rlimit of each process",
		}},
		{name: "no --net", fixed: map[policy.Engine]string{
			policy.EngineNamespaces: "network namespace, seccomp, supervisor",
			policy.EngineLandlock:   "seccomp, supervisor",
		}},
		{name: "no names outside the grants", fixed: map[policy.Engine]string{
			policy.EngineNamespaces: "private root",
			policy.EngineLandlock:   "supervisor, landlock",
		}},
		{name: "no processes outside", fixed: map[policy.Engine]string{
			policy.EngineNamespaces: "pid namespace, seccomp",
			policy.EngineLandlock:   "seccomp, landlock, supervisor",
		}},
	}
}

// enforced asks the code that a start asks.
func (k kind) enforced(engine policy.Engine, works map[policy.Engine]bool) string {
	if !works[engine] {
		return "the engine does not work here"
	}
	p := &policy.Policy{Argv: []string{"true"}, Engine: engine, Dev: true, Proc: true}
	if k.adjust != nil {
		k.adjust(p)
	}
	pl := &plan.Plan{Dirs: []string{"/"}, Cwd: "/"}
	if !k.rights.IsEmpty() {
		pl.Entries = []plan.Entry{{
			Dest: "/example", Source: "/example", Kind: plan.Dir, Rights: k.rights, Origin: []string{k.name},
		}}
	}
	choice, err := launch.Choose(p, pl)
	if err != nil {
		return refusal + message(err)
	}
	for _, line := range choice.Lines {
		if line.What == "/example" {
			return joined(line.By)
		}
	}
	return k.fixed[engine]
}

// print writes it for a person.
func (d diagnosis) print(w io.Writer) error {
	fmt.Fprintf(w, "Linux %s %s, uid %d\n\n", d.Kernel, d.Arch, d.UID)
	t := newTable(w, "BUILDING BLOCK", "FOUND", "NEEDED BY", "USED FOR")
	for _, e := range d.Entries {
		state := "ok"
		if !e.OK {
			state = e.Errno
		}
		if e.OK && e.Detail != "" {
			state += ", " + e.Detail
		}
		t.row(e.Name, state, string(e.Need), e.UsedFor)
	}
	if err := t.flush(); err != nil {
		return err
	}
	d.printRemedies(w)
	fmt.Fprintln(w)
	t = newTable(w, "ENGINE", "WORKS", "")
	for _, e := range d.Engines {
		if e.Works {
			t.row(string(e.Engine), "yes", ifAny("without: ", e.Loses))
		} else {
			t.row(string(e.Engine), "no", "missing: "+joined(e.Missing))
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nA program that confines itself: %s; %s.\n", d.Library.Form, shown(d.Library.Why))
	if d.Library.But == "" {
		fmt.Fprintf(w, "The same in a run: %s.\n\n", d.Library.InRun)
	} else {
		fmt.Fprintf(w, "The same in a run: %s; %s.\n\n", d.Library.InRun, shown(d.Library.But))
	}
	t = newTable(w, "GRANT", "ENFORCED BY (namespaces)", "ENFORCED BY (landlock)")
	var why []string
	cell := func(answer string) string {
		if reason, ok := strings.CutPrefix(answer, refusal); ok {
			why = append(why, reason)
			return "refused"
		}
		return answer
	}
	for _, g := range d.Grants {
		t.row(g.Grant, cell(g.Namespaces), cell(g.Landlock))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for i, reason := range why {
		if i == 0 {
			fmt.Fprintln(w, "\nRefused, unless accepted by name:")
		}
		fmt.Fprintf(w, "  %s\n", reason)
	}
	return nil
}

// refusal begins an answer that no engine enforces the grant.
const refusal = "refused: "

func (d diagnosis) printRemedies(w io.Writer) {
	said := map[string]bool{}
	for _, e := range d.Entries {
		if e.OK || e.Remedy == "" || said[e.Remedy] {
			continue
		}
		if len(said) == 0 {
			fmt.Fprintln(w, "\nHow to get what is missing:")
		}
		said[e.Remedy] = true
		fmt.Fprintf(w, "  %s: %s\n", e.Name, e.Remedy)
	}
}

func ifAny(head string, list []string) string {
	if len(list) == 0 {
		return ""
	}
	return head + strings.Join(list, ", ")
}
