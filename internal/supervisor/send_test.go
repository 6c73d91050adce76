package supervisor

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// TestPassOn: an address in a control message would be taken for one in this process.
func TestPassOn(t *testing.T) {
	const rds = 276
	none := func(fd int32) (*sys.FD, error) { return nil, unix.EBADF }
	for _, c := range []struct {
		level, typ uint32
		want       error
	}{
		{unix.SOL_IP, unix.IP_TTL, nil}, {unix.SOL_IPV6, unix.IPV6_HOPLIMIT, nil}, {unix.SOL_UDP, 103, nil}, {unix.SOL_TLS, 1, nil},
		{unix.SOL_ALG, 1, nil}, {solSCTP, 1, nil},
		{unix.SOL_SOCKET, unix.SCM_RIGHTS, unix.EBADF}, {unix.SOL_SOCKET, unix.SCM_CREDENTIALS, unix.EPERM}, {unix.SOL_SOCKET, 61, unix.EPERM},
		{rds, 1, unix.EPERM}, {0x7fffffff, 1, unix.EPERM},
	} {
		m := binary.NativeEndian.AppendUint64(nil, 20)
		m = binary.NativeEndian.AppendUint32(m, c.level)
		m = binary.NativeEndian.AppendUint32(m, c.typ)
		if _, err := PassOn(append(m, 1, 0, 0, 0), none); err != c.want {
			t.Errorf("level %d, type %d: %v, want %v", c.level, c.typ, err, c.want)
		}
	}
}
