package launch

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// killDescendants kills and collects every process below this one until none
// is left. Processes whose parents die come to this process, a child subreaper,
// so that a tree that forks while it is killed still ends: whoever survives a
// round is found in the next, and a forker's own death stops it.
func killDescendants() {
	for {
		for _, pid := range descendants() {
			_ = unix.Kill(pid, unix.SIGKILL) // ESRCH: it is gone
		}
		var status unix.WaitStatus
		_, err := unix.Wait4(-1, &status, unix.WALL, nil)
		if err != nil && err != unix.EINTR {
			return // ECHILD
		}
	}
}

// descendants lists the processes below this one.
func descendants() []int {
	var out []int
	queue := []int{os.Getpid()}
	for len(queue) > 0 {
		kids := childrenOf(queue[0])
		out = append(out, kids...)
		queue = append(queue[1:], kids...)
	}
	return out
}

// childrenOf lists the children of every thread of pid.
func childrenOf(pid int) []int {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	var out []int
	for _, t := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(b)) {
			if kid, err := strconv.Atoi(field); err == nil {
				out = append(out, kid)
			}
		}
	}
	return out
}
