package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/rights"
)

// rightsSchema names the form of rights --json; see statusSchema.
const rightsSchema = "capsicum.rights/1"

type rightsCmd struct {
	line
	JSON toggle `long:"json" optional:"1" optional-value:"yes" in:"Output" description:"Print JSON."`
}

type rightsList struct {
	Schema string     `json:"schema"`
	Sets   []setRow   `json:"sets"`
	Rights []rightRow `json:"rights"`
}

type setRow struct {
	Name   string     `json:"name"`
	Doc    string     `json:"doc"`
	Rights rights.Set `json:"rights"`
}

type rightRow struct {
	Name    string   `json:"name"`
	CName   string   `json:"c_name"`
	Aliases []string `json:"aliases,omitempty"`
	Doc     string   `json:"permits"`
	Since   int      `json:"since"` // FreeBSD release; 14 stands for older ones too
	In      []string `json:"in,omitempty"`
}

func (c *rightsCmd) run(a *app) (int, error) {
	list, err := c.list()
	if err != nil {
		return 0, err
	}
	if c.JSON {
		return exitOK, writeJSON(a.Out, list)
	}
	for i, s := range list.Sets {
		if i == 0 {
			fmt.Fprintln(a.Out, "Named sets, as flags (--ro PATH) and as words (--cap PATH=ro,fchmod):")
		}
		fmt.Fprintf(a.Out, "\n  %s: %s\n", s.Name, s.Doc)
		for _, line := range wrap(strings.ReplaceAll(s.Rights.String(), ",", ", "), 90) {
			fmt.Fprintf(a.Out, "      %s\n", line)
		}
	}
	if len(list.Rights) == 0 {
		return exitOK, nil
	}
	if len(list.Sets) > 0 {
		fmt.Fprintln(a.Out)
	}
	t := newTable(a.Out, "RIGHT", "IN", "PERMITS")
	for _, r := range list.Rights {
		name := strings.Join(append([]string{r.Name}, r.Aliases...), " = ")
		in := strings.Join(r.In, " ")
		if in == "" {
			in = "-"
		}
		t.row(name, in, r.Doc)
	}
	return exitOK, t.flush()
}

// list is what was asked for, in the order of the tables.
func (c *rightsCmd) list() (rightsList, error) {
	list := rightsList{Schema: rightsSchema}
	wanted, err := c.wanted()
	if err != nil {
		return list, err
	}
	sets := policy.Sets()
	for _, s := range sets {
		if wanted(s.Name) {
			list.Sets = append(list.Sets, setRow(s))
		}
	}
	for _, info := range rights.Table() {
		if !wanted(info.Name) {
			continue
		}
		row := rightRow{Name: info.Name, CName: info.CName, Aliases: info.Aliases, Doc: info.Doc, Since: info.Since}
		for _, s := range sets {
			if s.Rights.IsSet(info.Value) {
				row.In = append(row.In, s.Name)
			}
		}
		list.Rights = append(list.Rights, row)
	}
	return list, nil
}

// wanted resolves the names, aliases and C names too.
func (c *rightsCmd) wanted() (func(string) bool, error) {
	if len(c.words) == 0 {
		return func(string) bool { return true }, nil
	}
	names := map[string]bool{}
	for _, name := range c.words {
		if slices.ContainsFunc(policy.Sets(), func(s policy.NamedSet) bool { return s.Name == name }) {
			names[name] = true
			continue
		}
		r, err := rights.ParseRight(name)
		if err != nil {
			return nil, &flagError{"rights " + shown(name), err, "see capsicum rights"}
		}
		names[r.String()] = true
	}
	return func(name string) bool { return names[name] }, nil
}
