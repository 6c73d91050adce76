// Package cli is the capsicum command: its grammar, its output, its exit codes.
//
//	func main() {
//		launch.Stage()
//		os.Exit(cli.Main(os.Args[1:], cli.Std()))
//	}
//
// What is granted is decided in internal/policy and internal/resolve, what
// happens in internal/launch; this package only reads words and prints them.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/alecthomas/kong"
)

// Exit statuses of the command itself. A program's own status is passed on;
// these follow env(1) and timeout(1), so that scripts can tell the two apart.
const (
	exitOK      = 0
	exitMissing = 1 // doctor: no engine works here
	exitRefused = 125
)

// Streams is where the command writes.
type Streams struct {
	Out, Err io.Writer
}

// Std returns the process's own streams.
func Std() Streams { return Streams{Out: os.Stdout, Err: os.Stderr} }

// grammar is the whole command line.
type grammar struct {
	Help bool `short:"h" help:"Show the help of a command."`

	Run     runCmd     `cmd:"" help:"Run a program with only what is granted. This is the default command."`
	Doctor  doctorCmd  `cmd:"" help:"Try what this machine can enforce, and say how to get what is missing."`
	Rights  rightsCmd  `cmd:"" help:"List the rights and the named sets of them."`
	HelpCmd helpCmd    `cmd:"" name:"help" help:"Show help: capsicum help [topic]."`
	Version versionCmd `cmd:"" help:"Show the version."`
}

// command is one of the grammar's commands, ready to run.
type command interface {
	run(app *app) (status int, err error)
}

type app struct {
	Streams
	kong *kong.Kong
}

// words that name a command when they come first. Everything else that comes
// first is a grant or a program.
var words = []string{"run", "doctor", "rights", "help", "version"}

// spelling of commands as flags, which people try first.
var spelled = map[string]string{"-h": "help", "--help": "help", "--version": "version"}

// Main runs the command and returns the status to exit with.
func Main(args []string, s Streams) int {
	status, err := dispatch(args, s)
	if err != nil {
		return report(s.Err, err)
	}
	return status
}

func dispatch(args []string, s Streams) (int, error) {
	if os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid() {
		return 0, errors.New("this program must never be setuid or setgid; chmod ug-s it")
	}
	args = canonical(args)
	if c := plain(args); c != nil {
		return c.run(&app{Streams: s})
	}
	var g grammar
	parser, err := kong.New(&g, kong.Name("capsicum"), kong.NoDefaultHelp())
	if err != nil {
		return 0, fmt.Errorf("build grammar: %w", err)
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return 0, &usageError{err}
	}
	a := &app{Streams: s, kong: parser}
	name := ctx.Selected().Name
	if g.Help {
		return a.help(name)
	}
	return map[string]command{
		"run": &g.Run, "doctor": &g.Doctor, "rights": &g.Rights, "help": &g.HelpCmd, "version": &g.Version,
	}[name].run(a)
}

// canonical puts the command's word first, so that only the first word can be
// taken for one: "capsicum -- doctor" runs a program of that name.
func canonical(args []string) []string {
	if len(args) > 0 {
		if word, ok := spelled[args[0]]; ok {
			return append([]string{word}, args[1:]...)
		}
		if slices.Contains(words, args[0]) {
			return args
		}
	}
	return append([]string{"run"}, args...)
}
