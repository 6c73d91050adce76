package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jessevdk/go-flags"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/rights"
)

type helpCmd struct{ line }

func (c *helpCmd) run(a *app) (int, error) { return a.help(strings.Join(c.words, "")) }

// topics that are not commands.
var topics = map[string]func(io.Writer){
	"grants":  text(grantsHelp),
	"engines": text(enginesHelp),
	"exit":    text(exitHelp),
	"weaker":  weakerHelp,
}

func text(s string) func(io.Writer) { return func(w io.Writer) { io.WriteString(w, s) } }

const overview = `capsicum runs an unmodified program with only what was granted: no file, no
network, no process outside, no inherited descriptor but 0, 1 and 2, unless a
flag says so.

usage: capsicum [run] [grants] [--] [program [args ...]]

  capsicum -- date                       the program and its libraries, nothing else
  capsicum --ro ~/notes -- grep -r x ~/notes
  capsicum --rw . --system -- make -j4
  capsicum --dry-run --ro /etc -- ls /etc

`

const grantsHelp = `A grant names a file or a directory; a directory means all beneath it. Grants
only add: their order means nothing, and one inside another widens it.

  --ro PATH          look up, list, read, map
  --rw PATH          also write, create, remove, rename, truncate, lock
  --rox, --rwx PATH  the same, and execute
  --cap PATH=LIST    exactly these rights(4), or named sets: --cap /srv=ro,fchmod
  SRC:DST            show SRC under the absolute name DST
  ?PATH              no error if PATH is missing (quote it: the shell reads ? too)
  \: \\ \?           a colon, a backslash, a leading question mark in a name

The program itself, its interpreter and its libraries are granted by
themselves, file by file. Everything after the program's name is the program's.
A program named like a command (run, doctor, rights, ps, help, version) is started
with capsicum -- NAME.
`

const enginesHelp = `namespaces  a private root of mounts, each with the rights of its grant; Landlock
            and a seccomp filter inside. Files open at full speed. Needs user
            namespaces.
landlock    no namespaces: a supervisor answers every call that takes a name,
            Landlock is the floor beneath it. Slower on names, the same answers.

Without --engine the first one that works is taken. capsicum doctor says which
that is; capsicum --dry-run says what would enforce each grant.
`

const exitHelp = `the program's own status   it ran to its end
128+n                      signal n ended it
125                        capsicum refused to start it: the reason is on stderr
126                        it can not be executed
127                        it was not found
`

func weakerHelp(w io.Writer) {
	fmt.Fprint(w, "--allow-weaker=NAME accepts one loss that this machine can not avoid:\n\n")
	t := newTable(w)
	known := map[string]bool{}
	for _, info := range rights.Table() {
		known[info.Name] = true
	}
	for _, loss := range policy.WeakerNames() {
		if !known[loss.Name] {
			t.row("  "+loss.Name, loss.Doc)
		}
	}
	_ = t.flush()
	fmt.Fprint(w, "\nThe name of a right (capsicum rights) accepts that grants without it do not withhold it.\n")
}

// help prints one topic, or the overview.
func (a *app) help(topic string) (int, error) {
	if topic == "" {
		io.WriteString(a.Out, overview)
		a.commands()
		return exitOK, nil
	}
	if write, ok := topics[topic]; ok {
		write(a.Out)
		return exitOK, nil
	}
	if v := verbNamed(topic); v != nil {
		return exitOK, a.command(v)
	}
	return 0, &flagError{"help " + shown(topic), fmt.Errorf("no such topic"), "see capsicum help"}
}

func (a *app) commands() {
	t := newTable(a.Out, "commands:")
	for _, v := range verbs {
		t.row("  "+v.name, v.help)
	}
	t.row("")
	t.row("more: capsicum help run, grants, engines, exit, weaker")
	_ = t.flush()
}

// command prints a command's usage and its flags, group by group, straight from
// the grammar, so that they can not disagree.
func (a *app) command(v *verb) error {
	g, err := v.grammar(v.make())
	if err != nil {
		return err
	}
	options := documented(g)
	usage := "usage: capsicum " + v.name
	if len(options) > 0 {
		usage += " [flags]"
	}
	if v.most != 0 {
		usage += " [" + v.arg + " ...]"
	}
	fmt.Fprintf(a.Out, "%s\n\n%s\n", usage, v.help)
	group := ""
	for _, o := range options {
		if name := o.Field().Tag.Get("in"); name != group {
			group = name
			fmt.Fprintf(a.Out, "\n%s\n", group)
		}
		fmt.Fprintf(a.Out, "  %s\n", strings.TrimSpace("--"+o.LongName+" "+o.ValueName))
		for _, text := range wrap(o.Description, 70) {
			fmt.Fprintf(a.Out, "        %s\n", text)
		}
	}
	return nil
}

// documented are a command's own flags. Everyone knows --help.
func documented(g *flags.Parser) []*flags.Option {
	return slices.DeleteFunc(slices.Clone(g.Groups()[0].Options()), func(o *flags.Option) bool { return o.LongName == "help" })
}
