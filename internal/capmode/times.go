package capmode

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// timespecs copies the two times of utimensat, nil for now.
func timespecs(c *call) ([]unix.Timespec, error) { return c.times(1) }

// timevals copies the two times of futimesat, nil for now.
func timevals(c *call) ([]unix.Timespec, error) { return c.times(1000) }

// times copies two times from where argument 2 points to, whose fractions are of
// unit nanoseconds.
func (c *call) times(unit int64) ([]unix.Timespec, error) {
	if c.Arg(2) == 0 {
		return nil, nil
	}
	raw, err := c.Bytes(c.Arg(2), 32)
	if err != nil {
		return nil, err
	}
	word := func(i int) int64 { return int64(binary.NativeEndian.Uint64(raw[8*i:])) }
	out := make([]unix.Timespec, 2)
	for i := range out {
		sec, fraction := word(2*i), word(2*i+1)
		if unit != 1 {
			if fraction < 0 || fraction >= 1e9/unit {
				return nil, unix.EINVAL
			}
			fraction *= unit
		}
		out[i] = unix.Timespec{Sec: sec, Nsec: fraction}
	}
	return out, nil
}
