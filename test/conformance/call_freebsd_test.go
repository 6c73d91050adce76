package conformance

import (
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

// The ioctl commands that every descriptor has.
const (
	fionreadCommand = 0x4004667f
	fionbioCommand  = 0x8004667e
	fioclexCommand  = 0x20006601
)

func setCur(l *unix.Rlimit, n int) { l.Cur = int64(n) }

// everyRight is what this kernel calls all rights, which depends on its version.
func everyRight() rights.Set {
	p := make([]int, 2)
	stop("pipe", unix.Pipe2(p, unix.O_CLOEXEC))
	s := need(lib.RightsFD(p[0]))
	stop("close", all(unix.Close(p[0]), unix.Close(p[1])))
	return s
}

func dup2(from, to int) error { return unix.Dup2(from, to) }

func systemDrivers() []driver {
	return []driver{
		openMode("to lock", unix.O_RDONLY|unix.O_EXLOCK, "file", whenRead, "O_SHLOCK or O_EXLOCK"),
		openMode("to execute", unix.O_EXEC, "file", "O_EXEC or O_SEARCH"),
		{op: "fchflags", make: onFile(func(fd int) error { return unix.Fchflags(fd, 0) })},
		{op: "fpathconf", make: onFile(func(fd int) error { _, err := unix.Fpathconf(fd, 5); return err })},
	}
}

// untriedOperations gives the reason for each operation that nothing tries here.
var untriedOperations = map[string]string{
	"open stat lstat access chmod chown lchown link unlink rename mkdir rmdir mknod readlink symlink truncate statfs pathconf utimes " +
		"execve": "it takes a path alone, which capability mode refuses; no right is asked of anything",
	"getdents64 newfstatat statx faccessat2 fchmodat2 openat2 renameat2 syncfs sync_file_range readahead sendmmsg recvmmsg " +
		"splice tee vmsplice io_submit aio_poll fallocate preadv2 pwritev2 pread64 pwrite64 pselect6 cachestat execveat " +
		"name_to_handle_at getxattr lgetxattr setxattr lsetxattr listxattr llistxattr removexattr lremovexattr " +
		"fgetxattr fsetxattr flistxattr fremovexattr epoll_ctl epoll_wait epoll_pwait epoll_pwait2 signalfd signalfd4 " +
		"inotify_add_watch fanotify_mark pidfd_send_signal waitid pidfd_open pidfd_getfd fadvise64 mq_getsetattr " +
		"dup3 futimesat utime creat mkfifo mq_timedsend mq_timedreceive waitid": "it is a call of Linux",
	"readv writev preadv pwritev aio_read aio_write aio_fsync lio_listio getdents getdirentries fdatasync sendfile copy_file_range " +
		"posix_fallocate fspacectl chflagsat mkfifoat mknodat funlinkat fexecve fchroot  futimens futimes " +
		"extattr_get_fd extattr_set_fd extattr_list_fd extattr_delete_fd acl_get_fd acl_set_fd acl_delete_fd_np acl_valid_fd_np " +
		"mac_get_fd mac_set_fd close_range closefrom dup3 posix_fadvise cap_rights_limit cap_rights_get cap_ioctls_limit " +
		"cap_ioctls_get cap_fcntls_limit cap_fcntls_get ppoll pselect kevent timerfd_settime timerfd_gettime " +
		"inotify_add_watch_at inotify_rm_watch mq_send mq_receive mq_notify mq_getattr mq_setattr sem_getvalue sem_post sem_wait " +
		"sem_trywait sem_timedwait accept4 bindat connectat sctp_peeloff pdgetpid pdkill pdwait pdwait4 pddupfd": "no driver calls it on FreeBSD, whose kernel is its own reference",
}

// untriedNeeds gives the reason for each condition that nothing tries here.
var untriedNeeds = map[string]string{
	"fcntl: F_GETLEASE or F_SETLEASE": linuxCommand,
	"fcntl: F_GETSIG or F_SETSIG":     linuxCommand,
	"fcntl: F_NOTIFY":                 linuxCommand,
	"fcntl: F_GETPIPE_SZ":             linuxCommand,
	"fcntl: F_SETPIPE_SZ":             linuxCommand,
	"fcntl: F_GET_SEALS":              linuxCommand,
	"fcntl: F_ADD_SEALS":              linuxCommand,
	"fstatat: the path is empty":      "older kernels have no flag for it",
	"faccessat: the path is empty":    "older kernels have no flag for it",
	"utimensat: no path is given":     "FreeBSD asks for a path; futimens has none",
	"send: an address is given":       "it takes no address",
}

const linuxCommand = "it is a command of Linux"

func systemModeCases() []Case { return nil }

func systemInheritanceCases() []Case { return nil }

func mountNothing() error { return unix.Chflags("/", 0) }

func acceptOne(fd int) (int, error) { n, _, err := unix.Accept(fd); return n, err }

func selfDup2(fd int) error { return unix.Dup2(fd, fd) }

func systemLookupCases() []Case { return nil }

func systemIoctlCases() []Case { return nil }

func systemPollCases() []Case { return nil }

func systemProcessCases() []Case { return nil }

// oldUntried are operations that this architecture has not.
var oldUntried map[string]string
