package nsenv

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
)

// Mounts says, by mount id, which entry of pl everything beneath a mount is
// from. proc is a directory descriptor of the sandbox's procfs, and the caller
// lives in the private root. A mount that came along inside a granted tree is
// that tree's.
func Mounts(proc int, pl *plan.Plan) (map[uint64]*plan.Entry, error) {
	fd, err := unix.Openat(proc, "self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read mountinfo: %w", err)
	}
	f := os.NewFile(uintptr(fd), "mountinfo")
	defer f.Close()

	entries := make(map[string]*plan.Entry, len(pl.Entries))
	for i := range pl.Entries {
		entries[pl.Entries[i].Dest] = &pl.Entries[i]
	}
	out := make(map[uint64]*plan.Entry, len(pl.Entries))
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		id, at, err := parseMount(sc.Text())
		if err != nil {
			return nil, err
		}
		if e := covering(entries, at); e != nil {
			out[id] = e
		}
	}
	return out, sc.Err()
}

// covering returns the entry at or nearest above name.
func covering(entries map[string]*plan.Entry, name string) *plan.Entry {
	for {
		if e, ok := entries[name]; ok {
			return e
		}
		if name == "/" || name == "." {
			return nil
		}
		name = path.Dir(name)
	}
}

// parseMount returns the mount id and the mount point of a mountinfo line; see
// proc_pid_mountinfo(5).
func parseMount(line string) (id uint64, at string, err error) {
	fields := strings.SplitN(line, " ", 6)
	if len(fields) < 6 {
		return 0, "", fmt.Errorf("parse mountinfo line %q: %w", line, unix.EINVAL)
	}
	if id, err = strconv.ParseUint(fields[0], 10, 64); err != nil {
		return 0, "", fmt.Errorf("parse mountinfo line %q: %w", line, err)
	}
	return id, unescape(fields[4]), nil
}

// unescape undoes the octal escapes that mountinfo has for space, tab, newline
// and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
