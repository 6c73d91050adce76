package attach

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/capsicum-go/capsicum/internal/roster"
	"github.com/capsicum-go/capsicum/internal/static"
)

// tryName is argv[0] of a process that confines itself to find out how it can.
const tryName = "capsicum: try"

// tryTime is how long that may take.
const tryTime = 10 * time.Second

// Try has a child confine itself, and returns the form that it gets, and why not a
// better one.
func Try() (roster.Form, error) {
	ctx, cancel := context.WithTimeout(context.Background(), tryTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{tryName}
	out, err := cmd.Output()
	form, why, found := bytes.Cut(out, []byte("\n"))
	if err != nil || !found {
		return roster.Free, fmt.Errorf("try to be confined: %w", errors.Join(err, ctx.Err()))
	}
	if why := strings.TrimSpace(string(why)); why != "" {
		return roster.Form(form), errors.New(why)
	}
	return roster.Form(form), nil
}

// try is that child: it prints the form, and on another line what was in the way.
func try() int {
	form, why := tryForms()
	fmt.Fprintln(os.Stdout, form)
	if why != nil {
		fmt.Fprintln(os.Stdout, why)
	}
	return 0
}

func tryForms() (roster.Form, error) {
	var why error
	if !Join() { // somebody's who started us
		why = Start()
	}
	if why == nil {
		if why = Enter(); why == nil {
			return roster.Supervised, nil
		}
		return roster.Free, why // the filter is there, and nobody answers it
	}
	if err := static.Enter(); err != nil {
		return roster.Free, err
	}
	return roster.Static, why
}
