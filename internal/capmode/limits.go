package capmode

import "math"

// openLimit is the caller's RLIMIT_NOFILE.
func (c *call) openLimit() (int, error) {
	n, err := c.OpenFiles(c.p.pid)
	return int(min(n, math.MaxInt32)), err
}
