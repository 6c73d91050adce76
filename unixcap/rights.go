package unixcap

import "github.com/capsicum-go/capsicum/rights"

// The rights of rights(4) for files, directories and sockets. The encoding is
// FreeBSD's on every system. Package rights says what each permits, at the constant
// that stands here as its value.
const (
	CAP_READ            = uint64(rights.Read)
	CAP_RECV            = uint64(rights.Recv)
	CAP_WRITE           = uint64(rights.Write)
	CAP_SEND            = uint64(rights.Send)
	CAP_SEEK_TELL       = uint64(rights.SeekTell)
	CAP_SEEK            = uint64(rights.Seek)
	CAP_PREAD           = uint64(rights.Pread)
	CAP_PWRITE          = uint64(rights.Pwrite)
	CAP_MMAP            = uint64(rights.Mmap)
	CAP_MMAP_R          = uint64(rights.MmapR)
	CAP_MMAP_W          = uint64(rights.MmapW)
	CAP_MMAP_X          = uint64(rights.MmapX)
	CAP_MMAP_RW         = uint64(rights.MmapRW)
	CAP_MMAP_RX         = uint64(rights.MmapRX)
	CAP_MMAP_WX         = uint64(rights.MmapWX)
	CAP_MMAP_RWX        = uint64(rights.MmapRWX)
	CAP_CREATE          = uint64(rights.Create)
	CAP_FEXECVE         = uint64(rights.Fexecve)
	CAP_FSYNC           = uint64(rights.Fsync)
	CAP_FTRUNCATE       = uint64(rights.Ftruncate)
	CAP_LOOKUP          = uint64(rights.Lookup)
	CAP_FCHDIR          = uint64(rights.Fchdir)
	CAP_FCHFLAGS        = uint64(rights.Fchflags)
	CAP_CHFLAGSAT       = uint64(rights.Chflagsat)
	CAP_FCHMOD          = uint64(rights.Fchmod)
	CAP_FCHMODAT        = uint64(rights.Fchmodat)
	CAP_FCHOWN          = uint64(rights.Fchown)
	CAP_FCHOWNAT        = uint64(rights.Fchownat)
	CAP_FCNTL           = uint64(rights.Fcntl)
	CAP_FLOCK           = uint64(rights.Flock)
	CAP_FPATHCONF       = uint64(rights.Fpathconf)
	CAP_FSCK            = uint64(rights.Fsck)
	CAP_FSTAT           = uint64(rights.Fstat)
	CAP_FSTATAT         = uint64(rights.Fstatat)
	CAP_FSTATFS         = uint64(rights.Fstatfs)
	CAP_FUTIMES         = uint64(rights.Futimes)
	CAP_FUTIMESAT       = uint64(rights.Futimesat)
	CAP_LINKAT_TARGET   = uint64(rights.LinkatTarget)
	CAP_MKDIRAT         = uint64(rights.Mkdirat)
	CAP_MKFIFOAT        = uint64(rights.Mkfifoat)
	CAP_MKNODAT         = uint64(rights.Mknodat)
	CAP_RENAMEAT_SOURCE = uint64(rights.RenameatSource)
	CAP_SYMLINKAT       = uint64(rights.Symlinkat)
	CAP_UNLINKAT        = uint64(rights.Unlinkat)
	CAP_ACCEPT          = uint64(rights.Accept)
	CAP_BIND            = uint64(rights.Bind)
	CAP_CONNECT         = uint64(rights.Connect)
	CAP_GETPEERNAME     = uint64(rights.Getpeername)
	CAP_GETSOCKNAME     = uint64(rights.Getsockname)
	CAP_GETSOCKOPT      = uint64(rights.Getsockopt)
	CAP_LISTEN          = uint64(rights.Listen)
	CAP_PEELOFF         = uint64(rights.Peeloff)
	CAP_SETSOCKOPT      = uint64(rights.Setsockopt)
	CAP_SHUTDOWN        = uint64(rights.Shutdown)
	CAP_BINDAT          = uint64(rights.Bindat)
	CAP_CONNECTAT       = uint64(rights.Connectat)
	CAP_LINKAT_SOURCE   = uint64(rights.LinkatSource)
	CAP_RENAMEAT_TARGET = uint64(rights.RenameatTarget)
	CAP_FCHROOT         = uint64(rights.Fchroot)
	CAP_SOCK_CLIENT     = uint64(rights.SockClient)
	CAP_SOCK_SERVER     = uint64(rights.SockServer)
)

// The rights of rights(4) for labels, semaphores, events, processes and attributes.
const (
	CAP_MAC_GET        = uint64(rights.MacGet)
	CAP_MAC_SET        = uint64(rights.MacSet)
	CAP_SEM_GETVALUE   = uint64(rights.SemGetvalue)
	CAP_SEM_POST       = uint64(rights.SemPost)
	CAP_SEM_WAIT       = uint64(rights.SemWait)
	CAP_EVENT          = uint64(rights.Event)
	CAP_POLL_EVENT     = uint64(rights.PollEvent)
	CAP_KQUEUE_EVENT   = uint64(rights.KqueueEvent)
	CAP_IOCTL          = uint64(rights.Ioctl)
	CAP_TTYHOOK        = uint64(rights.Ttyhook)
	CAP_PDGETPID       = uint64(rights.Pdgetpid)
	CAP_PDWAIT         = uint64(rights.Pdwait)
	CAP_PDKILL         = uint64(rights.Pdkill)
	CAP_EXTATTR_DELETE = uint64(rights.ExtattrDelete)
	CAP_EXTATTR_GET    = uint64(rights.ExtattrGet)
	CAP_EXTATTR_LIST   = uint64(rights.ExtattrList)
	CAP_EXTATTR_SET    = uint64(rights.ExtattrSet)
	CAP_ACL_CHECK      = uint64(rights.AclCheck)
	CAP_ACL_DELETE     = uint64(rights.AclDelete)
	CAP_ACL_GET        = uint64(rights.AclGet)
	CAP_ACL_SET        = uint64(rights.AclSet)
	CAP_KQUEUE_CHANGE  = uint64(rights.KqueueChange)
	CAP_KQUEUE         = uint64(rights.Kqueue)
	CAP_INOTIFY_ADD    = uint64(rights.InotifyAdd)
	CAP_INOTIFY_RM     = uint64(rights.InotifyRm)
	CAP_PDDUPFD        = uint64(rights.Pddupfd)
)

// All rights, as x/sys has them: those of FreeBSD 14. Newer kernels, and Linux here,
// have more, so a descriptor limited to these is a limited one.
const (
	CAP_ALL0 = 0x020007ffffffffff
	CAP_ALL1 = 0x04000000001fffff
)

// The version of a CapRights, the only one there is.
const (
	CAP_RIGHTS_VERSION_00 = 0
	CAP_RIGHTS_VERSION    = CAP_RIGHTS_VERSION_00
)

// The fcntl commands that CapFcntlsLimit governs. A bit is 1 << F_command, so the
// values are those of the system that the program runs on.
const (
	CAP_FCNTL_GETFL  = uint32(rights.FcntlGetfl)
	CAP_FCNTL_SETFL  = uint32(rights.FcntlSetfl)
	CAP_FCNTL_GETOWN = uint32(rights.FcntlGetown)
	CAP_FCNTL_SETOWN = uint32(rights.FcntlSetown)
	CAP_FCNTL_ALL    = uint32(rights.FcntlAll)
)

// CAP_IOCTLS_ALL is what CapIoctlsGet counts when every command is permitted.
const CAP_IOCTLS_ALL = rights.IoctlsAll
