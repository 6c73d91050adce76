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
	"io"
	"os"
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

// app is what a command runs with.
type app struct{ Streams }

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
	v, c, err := parse(canonical(args))
	if err != nil {
		return 0, err
	}
	a := &app{Streams: s}
	if c.said().Help {
		return a.help(v.name)
	}
	return c.run(a)
}

// canonical puts the command's word first, so that only the first word can be
// taken for one: "capsicum -- doctor" runs a program of that name.
func canonical(args []string) []string {
	if len(args) > 0 {
		if word, ok := spelled[args[0]]; ok {
			return append([]string{word}, args[1:]...)
		}
		if verbNamed(args[0]) != nil {
			return args
		}
	}
	return append([]string{"run"}, args...)
}
