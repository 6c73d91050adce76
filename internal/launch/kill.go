package launch

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// killDescendants kills and collects every process below this one until none
// is left but strangers, children that were there before. Processes whose parents
// die come to this process, a child subreaper, so that a tree that forks while it
// is killed still ends: whoever survives a round is found in the next, and a
// forker's own death stops it.
func killDescendants(strangers []int) {
	for {
		kids := slices.DeleteFunc(childrenOf(os.Getpid()), func(pid int) bool { return slices.Contains(strangers, pid) })
		if len(kids) == 0 {
			return
		}
		for queue := slices.Clone(kids); len(queue) > 0; queue = append(queue[1:], childrenOf(queue[0])...) {
			_ = unix.Kill(queue[0], unix.SIGKILL) // ESRCH: it is gone
		}
		for _, pid := range kids {
			_ = sys.Retry(func() error { // ECHILD: somebody else collected it
				_, err := unix.Wait4(pid, nil, unix.WALL, nil)
				return err
			})
		}
	}
}

// childrenOf lists the children of every thread of pid.
func childrenOf(pid int) []int {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	var out []int
	for _, t := range tasks {
		b, err := sys.ReadFileAt(unix.AT_FDCWD, fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
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
