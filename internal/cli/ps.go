package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/capsicum-go/capsicum/internal/roster"
	"github.com/capsicum-go/capsicum/rights"
)

// psSchema names the form of ps --json; see statusSchema.
const psSchema = "capsicum.ps/1"

type psCmd struct {
	line
	JSON toggle `long:"json" optional:"1" optional-value:"yes" in:"Output" description:"Print JSON."`
}

type psList struct {
	Schema    string  `json:"schema"`
	Processes []psRow `json:"processes"`
}

// psRow is a process. What nobody tells is left out.
type psRow struct {
	PID         int            `json:"pid"`
	UID         int            `json:"uid"`
	Name        string         `json:"name"`
	Argv        []string       `json:"argv"`
	Form        roster.Form    `json:"form"`
	Engine      string         `json:"engine,omitempty"`
	Supervisor  int            `json:"supervisor,omitempty"`
	Front       int            `json:"front,omitempty"` // its capsicum run
	Filters     int            `json:"filters"`
	Mode        *bool          `json:"capability_mode,omitempty"`
	Descriptors []psDescriptor `json:"descriptors,omitempty"`
	Cut         bool           `json:"more,omitempty"` // not all of them are here
}

type psDescriptor struct {
	FD     int        `json:"fd"`
	Rights rights.Set `json:"rights"`
	Ioctls *[]uint32  `json:"ioctls,omitempty"` // absent: every command
	Fcntls []string   `json:"fcntls"`
	File   string     `json:"file,omitempty"`
}

func (c *psCmd) run(a *app) (int, error) {
	var found []roster.Process
	pids, err := c.pids()
	if err != nil {
		return 0, err
	}
	if pids == nil {
		found, err = roster.All()
	} else {
		found, err = roster.Of(pids)
	}
	if err != nil {
		return 0, fmt.Errorf("ps: %w", err)
	}
	list := psList{Schema: psSchema, Processes: []psRow{}}
	for _, p := range found {
		list.Processes = append(list.Processes, newPsRow(p))
	}
	if c.JSON {
		return exitOK, writeJSON(a.Out, list)
	}
	return exitOK, list.print(a)
}

// pids reads the words; nil if there are none.
func (c *psCmd) pids() (list []int, err error) {
	for _, word := range c.words {
		n, err := strconv.ParseUint(word, 10, 31)
		if err != nil || n == 0 {
			return nil, &flagError{"ps " + shown(word), errors.New("not a process number"), "write numbers, e.g. capsicum ps 123"}
		}
		list = append(list, int(n))
	}
	return list, nil
}

func newPsRow(p roster.Process) psRow {
	row := psRow{
		PID: p.PID, UID: p.UID, Name: p.Name, Argv: p.Argv, Form: p.Form, Engine: p.Engine, Supervisor: p.By, Front: p.Front,
		Filters: p.Filters, Cut: p.Cut,
	}
	if p.Told {
		row.Mode = &p.Mode
	}
	for _, f := range p.Limited {
		d := psDescriptor{FD: f.FD, Rights: f.Caps.Rights, Fcntls: fcntlNames(f.Caps.Fcntls), File: f.Name}
		if f.Caps.Listed {
			cmds := append([]uint32{}, f.Caps.Ioctls...)
			d.Ioctls = &cmds
		}
		row.Descriptors = append(row.Descriptors, d)
	}
	return row
}

// fcntlNames are the commands of a mask.
func fcntlNames(mask rights.Fcntls) []string {
	names := []string{}
	for _, known := range []struct {
		bit  rights.Fcntls
		name string
	}{
		{rights.FcntlGetfl, "getfl"}, {rights.FcntlSetfl, "setfl"}, {rights.FcntlGetown, "getown"}, {rights.FcntlSetown, "setown"},
	} {
		if mask&known.bit != 0 {
			names = append(names, known.name)
		}
	}
	return names
}

// print writes a table of processes, and one of their limited descriptors.
func (l psList) print(a *app) error {
	t := newTable(a.Out, "PID", "UID", "FORM", "MODE", "FILTERS", "COMMAND")
	limited := 0
	for _, p := range l.Processes {
		t.row(strconv.Itoa(p.PID), strconv.Itoa(p.UID), p.form(), p.mode(), strconv.Itoa(p.Filters), p.command())
		limited += len(p.Descriptors)
	}
	if err := t.flush(); err != nil || limited == 0 {
		return err
	}
	fmt.Fprintln(a.Out)
	t = newTable(a.Out, "PID", "FD", "RIGHTS", "IOCTLS", "FCNTLS", "FILE")
	for _, p := range l.Processes {
		for _, d := range p.Descriptors {
			t.row(strconv.Itoa(p.PID), strconv.Itoa(d.FD), d.Rights.String(), d.ioctls(), d.fcntls(), shown(d.File))
		}
		if p.Cut {
			t.row(strconv.Itoa(p.PID), "…")
		}
	}
	return t.flush()
}

func (p psRow) form() string {
	switch {
	case p.Form == roster.Wrapped:
		return string(p.Form) + ", " + p.Engine
	case p.Engine != "":
		return fmt.Sprintf("%s, %s by %d", roster.Wrapped, p.Form, p.Supervisor)
	case p.Supervisor != 0:
		return fmt.Sprintf("%s by %d", p.Form, p.Supervisor)
	}
	return string(p.Form)
}

// mode says whether the process is in capability mode. Who is free is not.
func (p psRow) mode() string {
	switch {
	case p.Mode == nil && p.Form == roster.Free:
		return "no"
	case p.Mode == nil:
		return "?"
	case *p.Mode:
		return "yes"
	}
	return "no"
}

func (p psRow) command() string {
	if len(p.Argv) == 0 {
		return "[" + shown(p.Name) + "]"
	}
	return quoted(p.Argv)
}

func (d psDescriptor) ioctls() string {
	switch {
	case d.Ioctls == nil:
		return "all"
	case len(*d.Ioctls) == 0:
		return "none"
	}
	var words []string
	for _, cmd := range *d.Ioctls {
		words = append(words, fmt.Sprintf("%#x", cmd))
	}
	return strings.Join(words, ",")
}

func (d psDescriptor) fcntls() string {
	switch len(d.Fcntls) {
	case 0:
		return "none"
	case len(fcntlNames(rights.FcntlAll)):
		return "all"
	}
	return strings.Join(d.Fcntls, ",")
}
