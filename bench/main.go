// Command bench runs whole programs plainly, under both engines of capsicum,
// under bubblewrap and under firejail, one after the other in turns, and prints
// medians and ratios as Markdown.
//
//	go run ./bench                     # everything, about half an hour
//	go run ./bench -quick              # fewer and smaller runs, a few minutes
//	go run ./bench -run 'true|git' -out docs/performance.md
//	go run ./bench -run '^library' -library docs/performance-library.md
//
// Then it measures the library: the same calls in a process that has confined
// itself and in one that has not, whose names all begin with "library".
//
// As root it changes to an ordinary user for every tool alike: a sandbox that
// root starts is not the usual case, and firejail refuses users that the
// machine does not know. That user exists in a mount namespace of the bench's
// own; nothing is changed on the machine.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// config is the command line.
type config struct {
	only     *regexp.Regexp
	count    int
	quick    bool
	check    bool
	out      string
	library  string
	dir      string
	capsicum string
	limit    time.Duration
}

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	only := fs.String("run", "", "only workloads whose name matches this `regexp`")
	fs.IntVar(&c.count, "count", 0, "runs of each workload; 0 is what the workload asks for")
	fs.BoolVar(&c.quick, "quick", false, "fewer runs and smaller workloads")
	fs.BoolVar(&c.check, "check", false, "exit with status 1 when a target is missed")
	fs.StringVar(&c.out, "out", "", "write the command's report to `file` too")
	fs.StringVar(&c.library, "library", "", "write the library's report to `file` too")
	fs.StringVar(&c.dir, "dir", "/tmp", "`directory` for the workloads' files")
	fs.StringVar(&c.capsicum, "capsicum", "", "the capsicum `binary`; built from ./cmd/capsicum when empty")
	fs.DurationVar(&c.limit, "limit", 3*time.Minute, "a single run that takes longer is stopped and reported as such")
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if fs.NArg() > 0 {
		return c, fmt.Errorf("unknown argument %q", fs.Arg(0))
	}
	var err error
	c.only, err = regexp.Compile(*only)
	if err != nil {
		return c, fmt.Errorf("-run: %w", err)
	}
	return c, nil
}

func run(args []string, stdout, stderr io.Writer) error {
	c, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := newBed(c)
	if err != nil {
		return err
	}
	defer b.close()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	if os.Getuid() == 0 && os.Getenv(inside) == "" {
		return b.again(args, interrupted)
	}
	go func() {
		<-interrupted
		b.close()
		os.Exit(130)
	}()
	results, err := measureAll(b, c, stderr)
	if err != nil {
		return err
	}
	library, err := measureLibrary(b, c, stderr)
	if err != nil {
		return err
	}
	n := 0
	if len(results.rows) > 0 {
		n += results.missed()
		if err := publish(c.out, stdout, func(w io.Writer) { writeReport(w, results) }); err != nil {
			return err
		}
	}
	if library != nil {
		n += missed(library.targets())
		if err := publish(c.library, stdout, func(w io.Writer) { writeLibrary(w, library) }); err != nil {
			return err
		}
	}
	if c.check && n > 0 {
		return fmt.Errorf("%d targets missed", n)
	}
	return nil
}

// publish prints a report, and keeps it in a file if one is named.
func publish(file string, stdout io.Writer, write func(io.Writer)) error {
	var text bytes.Buffer
	write(&text)
	if _, err := stdout.Write(text.Bytes()); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	if file != "" {
		if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
			return fmt.Errorf("keep report: %w", err)
		}
	}
	return nil
}
