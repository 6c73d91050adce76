package conformance

import "golang.org/x/sys/unix"

// oldDrivers are of calls that only old architectures have.
func oldDrivers() []driver { return nil }

// oldPathCalls name files by paths alone.
func oldPathCalls() map[string]func(path, other uintptr) error { return nil }

// oldUntried are operations that this architecture has not.
var oldUntried = map[string]string{
	"getdents futimesat epoll_wait signalfd open creat stat lstat access chmod chown lchown utime utimes mkdir " +
		"mknod symlink link rename unlink rmdir readlink": "this architecture has no such call; newer forms are tried",
}

// oldDup2 says what dup2 would: dup3 takes no descriptor over itself.
func oldDup2(from, to int) error {
	if from == to {
		_, err := unix.FcntlInt(uintptr(from), unix.F_GETFD, 0)
		return err
	}
	return unix.Dup3(from, to, 0)
}
