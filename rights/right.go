// Package rights is the vocabulary of rights(4): the rights a descriptor can
// carry, sets of them, their names, and what each operation needs.
//
//	var s rights.Set
//	s.Init(rights.Read, rights.Fstat).Set(rights.Seek)
//	s.IsSet(rights.Pread)             // true: read and seek are what it is made of
//	s.String()                        // "pread,fstat"
//	t, err := rights.Parse("read,lookup")
//
// The values are FreeBSD's, so a [Set] crosses to that kernel unchanged with
// [Set.Words] and [FromWords].
//
// # Limitations
//
// The package holds data and decides nothing: it knows no descriptor and makes
// no system call. What "all rights" means depends on the kernel; [All] is the
// newest vocabulary known here, and [AllOf] an older one. Linux has calls that
// FreeBSD has not; [For] expresses their needs with FreeBSD's rights, because
// the numbers once used for Linux rights collide with newer FreeBSD ones.
package rights

import (
	"fmt"
	"math/bits"
)

// Right is one right, or several of the same word ORed together, in the
// encoding of cap_rights_init(3): bits 0 to 56 are rights and exactly one of
// the bits 57 and 58 says which of the two words they belong to. Rights of
// different words must not be ORed; the methods of [Set] panic on the result.
type Right uint64

const (
	word0 Right = 1 << 57
	word1 Right = 1 << 58

	payload = 1<<57 - 1 // the bits of a word that are rights
	markers = ^uint64(payload)
)

// The rights of word 0: files, directories and sockets.
const (
	// Read (CAP_READ) permits reading and receiving, listing a directory, and
	// openat for reading.
	Read Right = word0 | 0x1

	// Recv (CAP_RECV) permits receiving from a socket; it is another name of
	// [Read].
	Recv = Read

	// Write (CAP_WRITE) permits writing and sending, and openat for writing.
	Write Right = word0 | 0x2

	// Send (CAP_SEND) permits sending on a socket; it is another name of [Write].
	Send = Write

	// SeekTell (CAP_SEEK_TELL) permits asking for the file offset: lseek by 0 from
	// SEEK_CUR.
	SeekTell Right = word0 | 0x4

	// Seek (CAP_SEEK) permits moving the file offset with lseek.
	Seek = SeekTell | 0x8

	// Pread (CAP_PREAD) permits reading at an offset: pread, preadv, and sendfile
	// as the source.
	Pread = Read | Seek

	// Pwrite (CAP_PWRITE) permits writing at an offset: pwrite, pwritev, and
	// openat for writing without O_APPEND or O_TRUNC.
	Pwrite = Write | Seek

	// Mmap (CAP_MMAP) permits mmap with PROT_NONE.
	Mmap Right = word0 | 0x10

	// MmapR (CAP_MMAP_R) permits mmap with PROT_READ.
	MmapR = Mmap | Seek | Read

	// MmapW (CAP_MMAP_W) permits mmap with PROT_WRITE of a shared mapping.
	MmapW = Mmap | Seek | Write

	// MmapX (CAP_MMAP_X) permits mmap with PROT_EXEC.
	MmapX = Mmap | Seek | 0x20

	// MmapRW (CAP_MMAP_RW) permits mmap with PROT_READ and shared PROT_WRITE.
	MmapRW = MmapR | MmapW

	// MmapRX (CAP_MMAP_RX) permits mmap with PROT_READ and PROT_EXEC.
	MmapRX = MmapR | MmapX

	// MmapWX (CAP_MMAP_WX) permits mmap with shared PROT_WRITE and PROT_EXEC.
	MmapWX = MmapW | MmapX

	// MmapRWX (CAP_MMAP_RWX) permits mmap with every protection.
	MmapRWX = MmapR | MmapW | MmapX

	// Create (CAP_CREATE) permits openat with O_CREAT.
	Create Right = word0 | 0x40

	// Fexecve (CAP_FEXECVE) permits fexecve, and openat with O_EXEC.
	Fexecve Right = word0 | 0x80

	// Fsync (CAP_FSYNC) permits fsync and fdatasync, and openat with O_SYNC.
	Fsync Right = word0 | 0x100

	// Ftruncate (CAP_FTRUNCATE) permits ftruncate, and openat with O_TRUNC.
	Ftruncate Right = word0 | 0x200

	// Lookup (CAP_LOOKUP) permits use as the directory from which an *at call
	// resolves a name.
	Lookup Right = word0 | 0x400

	// Fchdir (CAP_FCHDIR) permits fchdir, outside capability mode only.
	Fchdir Right = word0 | 0x800

	// Fchflags (CAP_FCHFLAGS) permits fchflags.
	Fchflags Right = word0 | 0x1000

	// Chflagsat (CAP_CHFLAGSAT) permits chflagsat beneath the directory.
	Chflagsat = Fchflags | Lookup

	// Fchmod (CAP_FCHMOD) permits fchmod.
	Fchmod Right = word0 | 0x2000

	// Fchmodat (CAP_FCHMODAT) permits fchmodat beneath the directory.
	Fchmodat = Fchmod | Lookup

	// Fchown (CAP_FCHOWN) permits fchown.
	Fchown Right = word0 | 0x4000

	// Fchownat (CAP_FCHOWNAT) permits fchownat beneath the directory.
	Fchownat = Fchown | Lookup

	// Fcntl (CAP_FCNTL) permits fcntl with F_GETFL, F_SETFL, F_GETOWN and
	// F_SETOWN, subject to the descriptor's Fcntls.
	Fcntl Right = word0 | 0x8000

	// Flock (CAP_FLOCK) permits flock and the record locks of fcntl.
	Flock Right = word0 | 0x10000

	// Fpathconf (CAP_FPATHCONF) permits fpathconf.
	Fpathconf Right = word0 | 0x20000

	// Fsck (CAP_FSCK) permits background file system checks.
	Fsck Right = word0 | 0x40000

	// Fstat (CAP_FSTAT) permits fstat.
	Fstat Right = word0 | 0x80000

	// Fstatat (CAP_FSTATAT) permits fstatat, statx and faccessat beneath the
	// directory.
	Fstatat = Fstat | Lookup

	// Fstatfs (CAP_FSTATFS) permits fstatfs.
	Fstatfs Right = word0 | 0x100000

	// Futimes (CAP_FUTIMES) permits futimens and futimes.
	Futimes Right = word0 | 0x200000

	// Futimesat (CAP_FUTIMESAT) permits utimensat and futimesat beneath the
	// directory.
	Futimesat = Futimes | Lookup

	// LinkatTarget (CAP_LINKAT_TARGET) permits linkat, as the directory that
	// receives the new name.
	LinkatTarget = Lookup | 0x400000

	// Mkdirat (CAP_MKDIRAT) permits mkdirat beneath the directory.
	Mkdirat = Lookup | 0x800000

	// Mkfifoat (CAP_MKFIFOAT) permits mkfifoat beneath the directory.
	Mkfifoat = Lookup | 0x1000000

	// Mknodat (CAP_MKNODAT) permits mknodat beneath the directory.
	Mknodat = Lookup | 0x2000000

	// RenameatSource (CAP_RENAMEAT_SOURCE) permits renameat, as the directory of
	// the old name.
	RenameatSource = Lookup | 0x4000000

	// Symlinkat (CAP_SYMLINKAT) permits symlinkat beneath the directory.
	Symlinkat = Lookup | 0x8000000

	// Unlinkat (CAP_UNLINKAT) permits unlinkat of files and directories, and
	// renameat over an existing name.
	Unlinkat = Lookup | 0x10000000

	// Accept (CAP_ACCEPT) permits accept and accept4.
	Accept Right = word0 | 0x20000000

	// Bind (CAP_BIND) permits bind, and bindat as the socket.
	Bind Right = word0 | 0x40000000

	// Connect (CAP_CONNECT) permits connect, connectat as the socket, and sending
	// to an address.
	Connect Right = word0 | 0x80000000

	// Getpeername (CAP_GETPEERNAME) permits getpeername.
	Getpeername Right = word0 | 0x100000000

	// Getsockname (CAP_GETSOCKNAME) permits getsockname.
	Getsockname Right = word0 | 0x200000000

	// Getsockopt (CAP_GETSOCKOPT) permits getsockopt.
	Getsockopt Right = word0 | 0x400000000

	// Listen (CAP_LISTEN) permits listen.
	Listen Right = word0 | 0x800000000

	// Peeloff (CAP_PEELOFF) permits sctp_peeloff.
	Peeloff Right = word0 | 0x1000000000

	// Setsockopt (CAP_SETSOCKOPT) permits setsockopt.
	Setsockopt Right = word0 | 0x2000000000

	// Shutdown (CAP_SHUTDOWN) permits shutdown.
	Shutdown Right = word0 | 0x4000000000

	// Bindat (CAP_BINDAT) permits bindat, as the directory.
	Bindat = Lookup | 0x8000000000

	// Connectat (CAP_CONNECTAT) permits connectat, as the directory.
	Connectat = Lookup | 0x10000000000

	// LinkatSource (CAP_LINKAT_SOURCE) permits linkat, as the directory of the
	// existing file.
	LinkatSource = Lookup | 0x20000000000

	// RenameatTarget (CAP_RENAMEAT_TARGET) permits renameat, as the directory of
	// the new name.
	RenameatTarget = Lookup | 0x40000000000

	// Fchroot (CAP_FCHROOT) permits fchroot, outside capability mode only.
	Fchroot Right = word0 | 0x80000000000

	// SockClient (CAP_SOCK_CLIENT) permits what a connecting socket usually does.
	SockClient = Connect | Getpeername | Getsockname | Getsockopt | Peeloff | Read | Write | Setsockopt | Shutdown

	// SockServer (CAP_SOCK_SERVER) permits what a listening socket and the
	// connections it accepts usually do.
	SockServer = Accept | Bind | Getpeername | Getsockname | Getsockopt | Listen | Peeloff | Read | Write | Setsockopt | Shutdown
)

// The rights of word 1: labels, semaphores, events, processes, attributes.
const (
	// MacGet (CAP_MAC_GET) permits mac_get_fd.
	MacGet Right = word1 | 0x1

	// MacSet (CAP_MAC_SET) permits mac_set_fd.
	MacSet Right = word1 | 0x2

	// SemGetvalue (CAP_SEM_GETVALUE) permits sem_getvalue.
	SemGetvalue Right = word1 | 0x4

	// SemPost (CAP_SEM_POST) permits sem_post.
	SemPost Right = word1 | 0x8

	// SemWait (CAP_SEM_WAIT) permits sem_wait and sem_trywait.
	SemWait Right = word1 | 0x10

	// Event (CAP_EVENT) permits poll and select, and being watched by kevent or
	// epoll.
	Event Right = word1 | 0x20

	// PollEvent (CAP_POLL_EVENT) permits poll and select; it is another name of
	// [Event].
	PollEvent = Event

	// KqueueEvent (CAP_KQUEUE_EVENT) permits receiving events: kevent with an
	// event list, epoll_wait.
	KqueueEvent Right = word1 | 0x40

	// Ioctl (CAP_IOCTL) permits ioctl, subject to the descriptor's list of
	// commands.
	Ioctl Right = word1 | 0x80

	// Ttyhook (CAP_TTYHOOK) permits terminal hooks.
	Ttyhook Right = word1 | 0x100

	// Pdgetpid (CAP_PDGETPID) permits pdgetpid.
	Pdgetpid Right = word1 | 0x200

	// Pdwait (CAP_PDWAIT) permits pdwait.
	Pdwait Right = word1 | 0x400

	// Pdkill (CAP_PDKILL) permits pdkill.
	Pdkill Right = word1 | 0x800

	// ExtattrDelete (CAP_EXTATTR_DELETE) permits deleting extended attributes:
	// extattr_delete_fd, fremovexattr.
	ExtattrDelete Right = word1 | 0x1000

	// ExtattrGet (CAP_EXTATTR_GET) permits reading extended attributes:
	// extattr_get_fd, fgetxattr.
	ExtattrGet Right = word1 | 0x2000

	// ExtattrList (CAP_EXTATTR_LIST) permits listing extended attributes:
	// extattr_list_fd, flistxattr.
	ExtattrList Right = word1 | 0x4000

	// ExtattrSet (CAP_EXTATTR_SET) permits writing extended attributes:
	// extattr_set_fd, fsetxattr.
	ExtattrSet Right = word1 | 0x8000

	// AclCheck (CAP_ACL_CHECK) permits acl_valid_fd_np.
	AclCheck Right = word1 | 0x10000

	// AclDelete (CAP_ACL_DELETE) permits acl_delete_fd_np.
	AclDelete Right = word1 | 0x20000

	// AclGet (CAP_ACL_GET) permits acl_get_fd.
	AclGet Right = word1 | 0x40000

	// AclSet (CAP_ACL_SET) permits acl_set_fd.
	AclSet Right = word1 | 0x80000

	// KqueueChange (CAP_KQUEUE_CHANGE) permits choosing what is watched: kevent
	// with a change list, epoll_ctl.
	KqueueChange Right = word1 | 0x100000

	// Kqueue (CAP_KQUEUE) permits kevent in full.
	Kqueue = KqueueEvent | KqueueChange

	// InotifyAdd (CAP_INOTIFY_ADD) permits inotify_add_watch.
	InotifyAdd Right = word1 | 0x200000

	// InotifyRm (CAP_INOTIFY_RM) permits inotify_rm_watch.
	InotifyRm Right = word1 | 0x400000

	// Pddupfd (CAP_PDDUPFD) permits taking a descriptor out of another process
	// through its process descriptor, outside capability mode only.
	Pddupfd Right = word1 | 0x800000
)

// split returns the word and the bits of r. It refuses what the C library
// aborts on: no marker, two markers, a marker of a word that does not exist, a
// version other than 0.
func (r Right) split() (word int, bit uint64, err error) {
	switch uint64(r) & markers {
	case uint64(word0):
		return 0, uint64(r) & payload, nil
	case uint64(word1):
		return 1, uint64(r) & payload, nil
	}
	if bits.OnesCount64(uint64(r)&markers) > 1 {
		return 0, 0, fmt.Errorf("invalid right %#x: rights of different words were ORed", uint64(r))
	}
	return 0, 0, fmt.Errorf("invalid right %#x: no word 0 or 1 marker", uint64(r))
}

// set returns r as a set and panics when r is invalid: the value can only come
// from a mistake in the program, and any reading of it could widen a limit.
func (r Right) set() Set {
	word, bit, err := r.split()
	if err != nil {
		panic("rights: " + err.Error())
	}
	var s Set
	s.words[word] = bit
	return s
}

// String returns the name of r as [Parse] reads it; for several rights in one
// value, the comma list. An invalid value prints as a number.
func (r Right) String() string {
	if _, _, err := r.split(); err != nil {
		return fmt.Sprintf("%#x", uint64(r))
	}
	for i := range table {
		if table[i].value == r {
			return table[i].name
		}
	}
	return r.set().String()
}
