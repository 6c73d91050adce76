package policy

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/capsicum-go/capsicum/rights"
)

// Error is a flag value that does not parse.
type Error struct {
	Flag  string // "--ro"
	Value string // as it was written
	Err   error
}

// Error names the flag and its value.
func (e *Error) Error() string { return fmt.Sprintf("parse %s: %v", spelled(e.Flag, e.Value), e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func fail(flag, value, format string, args ...any) error {
	return &Error{Flag: flag, Value: value, Err: fmt.Errorf(format, args...)}
}

// spelled is a flag and its value as they appear in messages. Bytes that would
// act on a terminal are quoted.
func spelled(flag, value string) string {
	for _, r := range value {
		if !strconv.IsPrint(r) {
			return flag + " " + strconv.Quote(value)
		}
	}
	return flag + " " + value
}

// Bounds of the kernel's own, so that what can not be a name is refused here.
const (
	maxPath = 4095 // PATH_MAX without its NUL
	maxFD   = 1<<20 - 1
)

// ParseGrant reads the value of a grant flag: SRC, or SRC:DST to show SRC under
// the absolute name DST. A leading "?" makes a missing SRC no error. A name with
// ":" or "\" in it writes them "\:" and "\\"; one that begins with "?" writes
// "\?". Nothing else is special: "*" is a name, patterns are the shell's affair.
func ParseGrant(flag, value string, set rights.Set) (Grant, error) {
	return parseGrant(flag, value, value, set)
}

// ParseCap reads the value of --cap: a grant as [ParseGrant] reads it, "=", and
// a comma list of rights(4) names or named sets. The last "=" divides, so that
// a name may have one.
func ParseCap(flag, value string) (Grant, error) {
	i := strings.LastIndexByte(value, '=')
	if i < 0 {
		return Grant{}, fail(flag, value, `no rights given (write NAME=right,right)`)
	}
	set, err := parseRights(value[i+1:])
	if err != nil {
		return Grant{}, fail(flag, value, "%w", err)
	}
	return parseGrant(flag, value, value[:i], set)
}

// parseGrant reads the names part of a flag's whole value.
func parseGrant(flag, whole, names string, set rights.Set) (Grant, error) {
	g := Grant{Flag: spelled(flag, whole), Rights: set}
	rest, optional := strings.CutPrefix(names, "?")
	g.Optional = optional
	source, dest, mapped, err := splitNames(rest)
	if err == nil {
		err = checkName("name", source)
	}
	if err == nil && mapped {
		err = checkDest(dest)
	}
	if err != nil {
		return Grant{}, fail(flag, whole, "%w", err)
	}
	g.Source, g.Dest = source, source
	if mapped {
		g.Dest = path.Clean(dest)
	}
	return g, nil
}

// splitNames undoes the escapes and divides at the one colon that has none.
func splitNames(s string) (source, dest string, mapped bool, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`\:?`, s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		case c == '\\':
			return "", "", false, fmt.Errorf(`a lone backslash (write \\ for a backslash, \: for a colon)`)
		case c == ':' && mapped:
			return "", "", false, fmt.Errorf(`more than one colon (write \: for a colon in a name)`)
		case c == ':':
			mapped, source = true, b.String()
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	if mapped {
		return source, b.String(), true, nil
	}
	return b.String(), "", false, nil
}

func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the %s is empty", what)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("the %s has a NUL byte", what)
	case len(name) > maxPath:
		return fmt.Errorf("the %s is longer than %d bytes", what, maxPath)
	}
	return nil
}

// checkDest accepts only names that say themselves where they are: a relative
// one or a ".." would depend on links that the sandbox may not have.
func checkDest(dest string) error {
	const what = "name in the sandbox"
	if err := checkName(what, dest); err != nil {
		return err
	}
	if dest[0] != '/' {
		return fmt.Errorf("the %s is relative (begin it with /)", what)
	}
	for component := range strings.SplitSeq(dest, "/") {
		if component == ".." {
			return fmt.Errorf(`the %s has ".." in it`, what)
		}
	}
	return nil
}

// Escape writes a name so that [ParseGrant] reads it back, whatever is in it.
func Escape(name string) string {
	return strings.NewReplacer(`\`, `\\`, `:`, `\:`, `?`, `\?`).Replace(name)
}

// ParseFD reads the value of --fd: a descriptor number, and after "=" the rights
// to limit it to.
func ParseFD(flag, value string) (FD, error) {
	number, list, limited := strings.Cut(value, "=")
	num, err := decimal(number)
	if err != nil || num > maxFD {
		return FD{}, fail(flag, value, "%q is not a descriptor number", number)
	}
	fd := FD{Flag: spelled(flag, value), Num: int(num)}
	if !limited {
		return fd, nil
	}
	set, err := parseRights(list)
	if err != nil {
		return FD{}, fail(flag, value, "%w", err)
	}
	fd.Rights = &set
	return fd, nil
}

// decimal reads digits only: no sign, no base, no blanks, no underscores.
func decimal(s string) (uint64, error) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, strconv.ErrSyntax
		}
	}
	return strconv.ParseUint(s, 10, 64)
}

// limitUnit is a resource that --limit knows, and what reads its value.
type limitUnit struct {
	resource string
	read     func(string) (uint64, error)
}

var limitUnits = []limitUnit{
	{"mem", bytesOf},
	{"procs", countOf},
	{"files", countOf},
	{"cpu", secondsOf},
}

// ParseLimit reads the value of --limit: "mem=512M,procs=64,files=256,cpu=10s".
func ParseLimit(flag, value string) ([]Limit, error) {
	var limits []Limit
	seen := make(map[string]bool)
	for element := range strings.SplitSeq(value, ",") {
		key, text, found := strings.Cut(element, "=")
		i := slices.IndexFunc(limitUnits, func(u limitUnit) bool { return u.resource == key })
		switch {
		case i < 0:
			return nil, fail(flag, value, "unknown resource %q (mem, procs, files, cpu)", key)
		case !found:
			return nil, fail(flag, value, "%s has no value", key)
		case seen[key]:
			return nil, fail(flag, value, "%s is given twice", key)
		}
		n, err := limitUnits[i].read(text)
		if err != nil {
			return nil, fail(flag, value, "%s: %w", key, err)
		}
		if n == 0 {
			return nil, fail(flag, value, "%s: a limit of zero would not let the program start", key)
		}
		seen[key] = true
		limits = append(limits, Limit{Flag: spelled(flag, value), Resource: key, Value: n})
	}
	return limits, nil
}

func countOf(s string) (uint64, error) {
	n, err := decimal(s)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a whole number in range", s)
	}
	return n, nil
}

// bytesOf reads a number of bytes, with a power of 1024 as its unit.
func bytesOf(s string) (uint64, error) {
	digits, shift := s, uint(0)
	if s != "" {
		if i := strings.IndexByte("KMGTkmgt", s[len(s)-1]); i >= 0 {
			digits, shift = s[:len(s)-1], uint(i%4+1)*10
		}
	}
	n, err := countOf(digits)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of bytes (512M; units K M G T)", s)
	}
	// Signed in the kernel's hands: beyond MaxInt64 a limit turns into none.
	if n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is out of range", s)
	}
	return n << shift, nil
}

// secondsOf reads whole seconds or a Go duration, rounded up, so that a short
// limit does not become none.
func secondsOf(s string) (uint64, error) {
	if n, err := decimal(s); err == nil && s != "" {
		if n > math.MaxInt64/uint64(time.Second) {
			return 0, fmt.Errorf("%q is out of range", s)
		}
		return n, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a length of time (10s, 5m, or seconds)", s)
	}
	n := uint64(d / time.Second)
	if d%time.Second != 0 {
		n++
	}
	return n, nil
}
