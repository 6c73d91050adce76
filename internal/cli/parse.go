package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jessevdk/go-flags"
)

// verb is a word that names a command when it comes first. Everything else
// that comes first is a grant or a program.
type verb struct {
	name string
	help string
	arg  string // what its words are
	most int    // how many words it takes
	make func() command
}

const unlimited = -1

var verbs = []verb{
	{"run", "Run a program with only what is granted. This is the default command.", "program", unlimited,
		func() command { return &runCmd{Engine: "auto"} }},
	{"doctor", "Try what this machine can enforce, and say how to get what is missing.", "", 0,
		func() command { return &doctorCmd{} }},
	{"rights", "List the rights and the named sets of them.", "name", unlimited,
		func() command { return &rightsCmd{} }},
	{"ps", "List confined processes: their form, capability mode, and the rights of limited descriptors.", "pid", unlimited,
		func() command { return &psCmd{} }},
	{"help", "Show help: capsicum help [topic].", "topic", 1,
		func() command { return &helpCmd{} }},
	{"version", "Show the version.", "", 0,
		func() command { return &versionCmd{} }},
}

// spelled are commands spelled as flags, which people try first.
var spelled = map[string]string{"-h": "help", "--help": "help", "--version": "version"}

// verbNamed returns nil if a command of that name does not exist.
func verbNamed(name string) *verb {
	for i := range verbs {
		if verbs[i].name == name {
			return &verbs[i]
		}
	}
	return nil
}

// command is what a verb makes. Its fields are its flags.
type command interface {
	said() *line
	run(app *app) (status int, err error)
}

// line is what every command's line has.
type line struct {
	Help  bool `short:"h" long:"help"`
	words []string
}

func (l *line) said() *line { return l }

// toggle is a flag that stands alone, or has --name=yes or --name=no for a
// program that writes command lines.
type toggle bool

// UnmarshalFlag refuses the empty value: --net=$VARIABLE must not grant anything
// because the variable is not set.
func (t *toggle) UnmarshalFlag(value string) error {
	switch strings.ToLower(value) {
	case "true", "1", "yes":
		*t = true
	case "false", "0", "no":
		*t = false
	default:
		return errors.New("not a truth value")
	}
	return nil
}

// parse reads a command line whose first word is a verb's.
func parse(args []string) (*verb, command, error) {
	v, args := verbNamed(args[0]), args[1:]
	c := v.make()
	g, err := v.grammar(c)
	if err != nil {
		return nil, nil, err
	}
	// Because of a variable in our environment the library would complete
	// words, and read no flags.
	if value, set := os.LookupEnv(completing); set {
		os.Unsetenv(completing)
		defer os.Setenv(completing, value)
	}
	rest, err := g.ParseArgs(args)
	if err == nil {
		err = v.check(g, args, rest)
	} else {
		err = explain(g, err, args, len(args)-len(rest))
	}
	if err != nil {
		return nil, nil, &usageError{err}
	}
	c.said().words = rest
	return v, c, nil
}

const completing = "GO_FLAGS_COMPLETION"

// grammar is that of one command: building all of them would cost a start more
// than reading its line does.
func (v *verb) grammar(c command) (*flags.Parser, error) {
	options := flags.Options(flags.PassDoubleDash)
	if v.name == "run" {
		options |= flags.PassAfterNonOption
	}
	g := flags.NewNamedParser("capsicum", options)
	if _, err := g.AddGroup(v.name, "", c); err != nil {
		return nil, fmt.Errorf("build grammar: %w", err)
	}
	return g, nil
}

// check refuses what the library lets pass: "---x", which it takes for no flag,
// and words that the command has no use for. rest are the words.
func (v *verb) check(g *flags.Parser, args, rest []string) error {
	ours := args
	if v.name == "run" && len(rest) > 0 {
		ours = args[:len(args)-len(rest)+1]
	}
	for _, word := range ours {
		if word == "--" {
			break
		}
		if strings.HasPrefix(word, "---") {
			return unknown(g, word)
		}
	}
	if v.most != unlimited && len(rest) > v.most {
		return fmt.Errorf("unexpected argument %s", shown(rest[v.most]))
	}
	return nil
}
