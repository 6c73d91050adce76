package supervisor

import (
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

const execFlags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH

func execHandlers() []answer {
	return []answer{
		{"execve", executes(at{cwd, 0}, func(*Call) uint64 { return 0 })},
		{"execveat", known(4, execFlags, executes(at{0, 1}, func(c *Call) uint64 { return uint64(uint32(c.Int(4))) }))},
	}
}

const execReason = "Landlock lets the kernel execute what is granted and nothing else, whatever name it reads"

// executes looks only for the right errno; the kernel decides. It walks the
// host's names, so a program can be executed where these are the sandbox's.
func executes(a at, flags func(*Call) uint64) Handler {
	return func(c *Call) Result {
		bits := flags(c)
		n, err := a.read(c)
		if err != nil {
			return Fail(err)
		}
		o, err := n.target(c, bits, bits&unix.AT_SYMLINK_NOFOLLOW == 0)
		if err != nil {
			return Fail(err)
		}
		defer o.close()
		mode, err := modeOf(o.fd)
		switch {
		case err != nil:
			return Fail(err)
		case isType(mode, unix.S_IFLNK):
			return Errno(unix.ELOOP)
		case !isType(mode, unix.S_IFREG) || o.Outside:
			return Errno(unix.EACCES)
		}
		if err := lacks(&o.Place, rights.Of(rights.Fexecve), unix.EACCES); err != nil {
			return Fail(err)
		}
		if n.name != "" && o.magic == nil && !c.kernelFinds(n, o.fd) {
			return Errno(unix.ENOENT)
		}
		return Continue(execReason)
	}
}
