package supervisor

import (
	"bytes"
	"encoding/binary"

	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// sockaddr is a socket address as the caller passed it, copied once.
type sockaddr struct {
	family uint16
	raw    []byte // the whole of it; what is acted on
}

// unixName is what a Unix socket address says.
type unixName struct {
	path     string // a name in the file system
	abstract string // a name outside of it, with its leading NUL
}

// addrOffset is where the name starts in struct sockaddr_un.
const addrOffset = 2

// parseSockaddr looks at a copied address. An address too short for a family
// is AF_UNSPEC to no call, so it is EINVAL here.
func parseSockaddr(raw []byte) (sockaddr, error) {
	if len(raw) < addrOffset {
		return sockaddr{}, unix.EINVAL
	}
	return sockaddr{family: binary.NativeEndian.Uint16(raw), raw: raw}, nil
}

// unixName reads the address of a Unix socket by the kernel's rules: a path
// ends at the first NUL or at the end, an abstract name holds every byte. Both
// are empty for the address that is only a family.
func (a sockaddr) unixName() (unixName, error) {
	if len(a.raw) > unix.SizeofSockaddrUnix {
		return unixName{}, unix.EINVAL
	}
	name := a.raw[addrOffset:]
	switch {
	case len(name) == 0:
		return unixName{}, nil
	case name[0] == 0:
		return unixName{abstract: string(name)}, nil
	}
	if end := bytes.IndexByte(name, 0); end >= 0 {
		name = name[:end]
	}
	return unixName{path: string(name)}, nil
}

// unixPath returns the address of a Unix socket with a path.
func unixPath(path string) sockaddr {
	raw := binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX)
	raw = append(raw, path...)
	return sockaddr{family: unix.AF_UNIX, raw: append(raw, 0)}
}

// sockaddr copies the address at addr of length n. The errors are the
// kernel's.
func (c *Call) sockaddr(addr uint64, n int32) (sockaddr, error) {
	if n < 0 || n > sys.SockaddrMax {
		return sockaddr{}, unix.EINVAL
	}
	raw, err := c.Bytes(addr, int(n))
	if err != nil {
		return sockaddr{}, err
	}
	return parseSockaddr(raw)
}
