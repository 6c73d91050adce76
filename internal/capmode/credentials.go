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
		return supervisor.Continue(whoAsks)
	}
	raw, err := c.Bytes(c.Arg(0), 8)
	if err != nil {
		return fail(err)
	}
	header := unix.CapUserHeader{Version: binary.NativeEndian.Uint32(raw), Pid: int32(c.TID())}
	who := int32(binary.NativeEndian.Uint32(raw[4:]))
	var data [2]unix.CapUserData
	sets := data[:]
	if header.Version == unix.LINUX_CAPABILITY_VERSION_1 {
		sets = data[:1]
	}
	room := c.Arg(1)
	if unix.Capget(&header, &data[0]) == unix.EINVAL { // a version that it does not know: it names one
		if err := c.Write(c.Arg(0), binary.NativeEndian.AppendUint32(nil, header.Version)); err != nil || room == 0 {
			return fail(err)
		}
		return supervisor.Errno(unix.EINVAL)
	}
	switch {
	case room == 0:
		return supervisor.Value(0)
	case who < 0:
		return supervisor.Errno(unix.EINVAL)
	case who != 0 && !c.ownThread(int(who)):
		return supervisor.Errno(eCapMode)
	case who != 0:
		header.Pid = who
	}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fail(err)
	}
	var out []byte
	for _, set := range sets {
		for _, word := range []uint32{set.Effective, set.Permitted, set.Inheritable} {
			out = binary.NativeEndian.AppendUint32(out, word)
		}
	}
	return fail(c.Write(room, out))
}
