package syscalls

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/capsicum-go/capsicum/internal/fdtable"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

const preface = `# System calls

Written by ` + "`go generate ./internal/syscalls`" + ` from the table the filter is compiled from; do not edit.

Every system call of amd64 and arm64 known to the newest kernel headers is here once. The first rule of a call that
applies decides. *pass*: the kernel carries the call out. An errno: the filter refuses the call with it. *ask*: the
supervisor copies what the registers point to once, acts on its copy, and answers; only where a *continue* reason is
given may it let the kernel carry the call out instead. Everything else is refused with ENOSYS: numbers that are not
listed, the x32 interface, and every call of a 32-bit program.

Arguments are compared as the kernel reads them: 32 bits where it takes an int, so that a bit set above changes nothing.
Kinds of arguments: int, flags, fd, dirfd (fd or AT_FDCWD), path and ptr (addresses: what they point to can change after
a look), any (number or address, as another argument says).

The chapters are about programs that the command ` + "`capsicum`" + ` starts. The last one is about processes that confine
themselves with the package.
`

const attachedPreface = `
## Processes that confine themselves

The filter that the first call of package capsicum installs. It is about the rights of descriptors only, and asks whatever
the filters stacked on it later cannot decide: those refuse, by number, what a limited descriptor has lost, and with
ECAPMODE what capability mode takes away by registers; a refusal there wins over a question here. A call that is not
listed passes here. *Chosen* numbers are %s: the supervisor puts limited descriptors there that no library call makes,
and their lowest four bits say what passes (1: reading, 2: writing, 4: the offset, 8: mapping).
`

// Markdown returns docs/syscalls.md.
func Markdown() []byte {
	var b strings.Builder
	b.WriteString(preface)
	index(&b)
	for _, f := range families() {
		fmt.Fprintf(&b, "\n## %s\n", f.title)
		for _, g := range f.groups() {
			g.write(&b)
		}
	}
	attachedChapter(&b)
	return []byte(b.String())
}

// index writes the table of all calls. Its verdicts are those of a new kernel,
// with nothing granted that needs asking.
func index(b *strings.Builder) {
	scoped := Options{SignalScope: true, AbstractScope: true, UnixScope: true, PtraceScope: true}
	b.WriteString("\n## All calls\n\nVerdicts on a kernel with every Landlock feature, without network, no grant lacking a right that must ask.\n\n" +
		"The last column is the filter of a process that confines itself, before anything is stacked on it.\n\n" +
		"| call | amd64 | arm64 | arguments | namespaces engine | landlock engine | confined by itself |\n|---|---|---|---|---|---|---|\n")
	for _, row := range Rows() {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", row.Name,
			number(sysno.AMD64, row.Name), number(sysno.ARM64, row.Name), arguments(row.Name),
			row.summary(scoped, policy.EngineNamespaces), row.summary(scoped, policy.EngineLandlock), verdicts(row.attached))
	}
}

// attachedChapter writes the rules of processes that confine themselves.
func attachedChapter(b *strings.Builder) {
	var ranges []string
	for _, r := range fdtable.Chosen {
		ranges = append(ranges, fmt.Sprintf("%d to %d", r.First, r.Last))
	}
	fmt.Fprintf(b, attachedPreface, strings.Join(ranges, " and "))
	for _, g := range attachedGroups() {
		fmt.Fprintf(b, "\n**%s**\n\n", strings.Join(strings.Fields(g.names), ", "))
		last := ""
		for i := range g.rules {
			var line strings.Builder
			g.rules[i].write(&line)
			if line.String() != last { // one rule for each range of chosen numbers
				last = line.String()
				b.WriteString(last)
			}
		}
	}
}

func number(a sysno.Arch, name string) string {
	nr, ok := sysno.Nr(a, name)
	if !ok {
		return "–"
	}
	return strconv.Itoa(nr)
}

func arguments(name string) string {
	var out []string
	for _, k := range sysno.Args(name) {
		out = append(out, k.String())
	}
	return strings.Join(out, " ")
}

// summary lists the verdicts row can come to under one engine.
func (row *Row) summary(o Options, e policy.Engine) string {
	o.Engine = e
	rules, err := row.active(o)
	if err != nil {
		return err.Error()
	}
	return verdicts(rules)
}

// verdicts lists what rules can come to.
func verdicts(rules []Rule) string {
	var out []string
	for _, r := range rules {
		if v := r.Do.String(); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return strings.Join(out, ", ")
}

// write writes the rules of a group.
func (g *group) write(b *strings.Builder) {
	names := strings.Fields(g.names)
	fmt.Fprintf(b, "\n**%s** — %s\n\n", strings.Join(names, ", "), g.doc)
	for i := range g.rules {
		g.rules[i].write(b)
	}
}

// write writes one rule as a list item.
func (r *Rule) write(b *strings.Builder) {
	b.WriteString("- ")
	if r.When.Text != "" {
		fmt.Fprintf(b, "%s: ", r.When.Text)
	}
	for i, t := range r.Args {
		if i > 0 {
			b.WriteString(" and ")
		}
		fmt.Fprintf(b, "`%s`", t.Text)
	}
	if len(r.Args) > 0 {
		b.WriteString(" → ")
	}
	fmt.Fprintf(b, "*%s*", r.Do)
	if r.Reason != "" {
		fmt.Fprintf(b, ": %s", r.Reason)
	}
	if r.Continue != "" {
		fmt.Fprintf(b, ". *Continue:* %s", r.Continue)
	}
	b.WriteString(".\n")
}
