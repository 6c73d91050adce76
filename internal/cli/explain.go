package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jessevdk/go-flags"
)

// explain says what is wrong with args[at], the word at which the library
// stopped. Its own messages do not say what to do, and print the word as it is.
func explain(g *flags.Parser, err error, args []string, at int) error {
	var wrong *flags.Error
	if !errors.As(err, &wrong) {
		return err
	}
	word, value, given := strings.Cut(args[at], "=")
	// A value that may not be one is where the library stops, not its flag.
	if at > 0 {
		if before := option(g, args[at-1]); before != nil && before.ValueName != "" {
			word, value, given = args[at-1], args[at], true
		}
	}
	switch wrong.Type {
	case flags.ErrUnknownFlag:
		return unknown(g, word)
	case flags.ErrNoArgumentForBool:
		return fmt.Errorf("%s takes no value", word)
	case flags.ErrMarshal:
		return fmt.Errorf("%s must be true, 1, yes, false, 0 or no but got %q", word, value)
	case flags.ErrInvalidChoice:
		return fmt.Errorf(`%s must be one of "%s" but got %q`, word, strings.Join(option(g, word).Choices, `","`), value)
	case flags.ErrExpectedArgument:
		if given {
			return fmt.Errorf("%s: missing value, %s looks like a flag; if it is the value, write %s=%[2]s", word, shown(value), word)
		}
		return fmt.Errorf("%s: missing value; write %s %s", word, word, option(g, word).ValueName)
	}
	return err
}

// option is the flag that the word --name is, or nil.
func option(g *flags.Parser, word string) *flags.Option {
	name, long := strings.CutPrefix(word, "--")
	if !long {
		return nil
	}
	return g.FindOptionByLongName(name)
}

// unknown names the flags that come nearest to a word.
func unknown(g *flags.Parser, word string) error {
	word, _, _ = strings.Cut(word, "=")
	name := strings.ToLower(strings.TrimLeft(word, "-"))
	fewest := min(2, 1+len(name)/4)
	var near []string
	for _, o := range g.Groups()[0].Options() {
		n := edits(name, o.LongName)
		if name != "" && strings.HasPrefix(o.LongName, name) {
			n = min(n, 1)
		}
		if n < fewest {
			fewest, near = n, nil
		}
		if n == fewest {
			near = append(near, fmt.Sprintf("%q", "--"+o.LongName))
		}
	}
	msg := "unknown flag " + shown(word)
	switch len(near) {
	case 0:
		return errors.New(msg)
	case 1:
		return fmt.Errorf("%s, did you mean %s?", msg, near[0])
	}
	return fmt.Errorf("%s, did you mean one of %s?", msg, strings.Join(near, ", "))
}

// edits counts the insertions, deletions and replacements that turn a into b.
func edits(a, b string) int {
	above := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row := []int{i + 1}
		for j := range len(b) {
			change := above[j]
			if a[i] != b[j] {
				change++
			}
			row = append(row, min(change, above[j+1]+1, row[j]+1))
		}
		above = row
	}
	return above[len(b)]
}
