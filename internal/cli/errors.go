package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/capsicum-go/capsicum/internal/launch"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/resolve"
)

// usageError is a command line that does not parse.
type usageError struct{ err error }

func (e *usageError) Error() string { return fmt.Sprintf("%v; see capsicum help", e.err) }
func (e *usageError) Unwrap() error { return e.err }

// flagError is a value that parses but can not be granted here.
type flagError struct {
	flag string // with its value: "--fd 7"
	err  error
	hint string
}

func (e *flagError) Error() string {
	if e.hint == "" {
		return fmt.Sprintf("%s: %v", e.flag, e.err)
	}
	return fmt.Sprintf("%s: %v; %s", e.flag, e.err, e.hint)
}
func (e *flagError) Unwrap() error { return e.err }

// report prints what went wrong and returns the status for it.
func report(w io.Writer, err error) int {
	fmt.Fprintf(w, "capsicum: %s\n", message(err))
	return statusOf(err)
}

// message is the text for a person. A value that did not parse says so by its
// cause; "parse" adds nothing on a command line.
func message(err error) string {
	var p *policy.Error
	if errors.As(err, &p) {
		return (&flagError{shown(p.Flag + " " + p.Value), p.Err, ""}).Error()
	}
	var r *resolve.Error
	if errors.As(err, &r) {
		flag := shown(r.Flag)
		if r.Path != "" && !strings.HasSuffix(" "+r.Flag, " "+r.Path) {
			flag += ": " + shown(r.Path)
		}
		return (&flagError{flag, r.Err, r.Hint}).Error()
	}
	return err.Error()
}

// warn says what will be missed, on a run that goes on.
func (a *app) warn(text string) { fmt.Fprintf(a.Err, "capsicum: warning: %s\n", text) }

func statusOf(err error) int {
	var missing *resolve.Error
	if errors.As(err, &missing) && missing.Exit != 0 {
		return missing.Exit
	}
	var refused *launch.Refused
	if errors.As(err, &refused) && refused.Exit != 0 {
		return refused.Exit
	}
	return exitRefused
}
