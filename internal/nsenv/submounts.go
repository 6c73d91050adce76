package nsenv

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// addSubmounts credits each mount that came along inside a granted tree to that
// tree's entry. mountinfo lists a parent before what is mounted on it.
func (e *Env) addSubmounts() error {
	fd, err := unix.Openat(int(e.Proc.Fd()), "self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("read mountinfo: %w", err)
	}
	f := os.NewFile(uintptr(fd), "mountinfo")
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		id, parent, err := mountIDs(sc.Text())
		if err != nil {
			return err
		}
		if _, known := e.Mounts[id]; known {
			continue
		}
		if entry, ok := e.Mounts[parent]; ok {
			e.Mounts[id] = entry
		}
	}
	return nil
}

// mountIDs returns the first two fields of a mountinfo line.
func mountIDs(line string) (id, parent uint64, err error) {
	fields := strings.SplitN(line, " ", 3)
	if len(fields) < 3 {
		return 0, 0, fmt.Errorf("parse mountinfo line %q: %w", line, unix.EINVAL)
	}
	if id, err = strconv.ParseUint(fields[0], 10, 64); err == nil {
		parent, err = strconv.ParseUint(fields[1], 10, 64)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("parse mountinfo line %q: %w", line, err)
	}
	return id, parent, nil
}
