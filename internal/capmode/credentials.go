package capmode

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/supervisor"
)

// capabilitiesOf is capget(2). Whose capabilities are asked for is in memory: in
// capability mode the supervisor tells those of the process itself, and does not leave
// it to the kernel to read the number again.
func capabilitiesOf(c *call) supervisor.Result {
	if !c.p.table.Mode() {
		return supervisor.Continue("outside capability mode nothing is refused")
	}
	header := unix.CapUserHeader{Pid: int32(c.TID())}
	raw, err := c.Bytes(c.Arg(0), 4)
	if err != nil {
		return fail(err)
	}
	header.Version = binary.NativeEndian.Uint32(raw)
	first := header.Version == unix.LINUX_CAPABILITY_VERSION_1
	room := c.Arg(1)
	// A version that the kernel does not know it answers with one that it knows.
	err = unix.Capget(&header, nil)
	if known := binary.NativeEndian.AppendUint32(nil, header.Version); string(known) != string(raw) {
		if err := c.Write(c.Arg(0), known); err != nil || room == 0 {
			return fail(err)
		}
		return supervisor.Errno(unix.EINVAL)
	}
	if err != nil || room == 0 {
		return fail(err)
	}
	if raw, err = c.Bytes(c.Arg(0)+4, 4); err != nil {
		return fail(err)
	}
	sets, err := c.ownCapabilities(header, int32(binary.NativeEndian.Uint32(raw)))
	if err != nil {
		return fail(err)
	}
	if first {
		sets = sets[:1]
	}
	out, _ := binary.Append(nil, binary.NativeEndian, sets)
	return fail(c.Write(room, out))
}

// ownCapabilities returns the capabilities of the thread that the caller knows as who, one
// of its process; 0 is the one that calls, which header names.
func (c *call) ownCapabilities(header unix.CapUserHeader, who int32) ([]unix.CapUserData, error) {
	if who < 0 {
		return nil, unix.EINVAL
	}
	var sets [2]unix.CapUserData
	if who == 0 {
		err := unix.Capget(&header, &sets[0])
		if gone := c.Check(); gone != nil {
			return nil, gone
		}
		return sets[:], err
	}
	// Before the look and after: in between the number would have to change hands twice.
	tid, ok := c.thread(who)
	if !ok {
		return nil, eCapMode
	}
	header.Pid = int32(tid)
	err := unix.Capget(&header, &sets[0])
	if again, ok := c.thread(who); !ok || again != tid {
		return nil, eCapMode
	}
	return sets[:], err
}
