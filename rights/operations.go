package rights

import "sync"

// operations says what each call asks of its descriptors. A call that is not
// here is unknown, not free: free calls have a row without needs. A call that
// names a file without naming a directory is judged as its *at form; the
// directory is then whatever the name is resolved from.
//
// Where FreeBSD has no such call, the right is that of the nearest thing it
// has: epoll is a kqueue, a lease is a lock that reports, a pidfd is a process
// descriptor, fanotify is inotify. A pipe's size is a socket option, as the
// Linux port of Capsicum had it.
var operations = sync.OnceValue(func() []operation {
	return []operation{
		// Reading and writing.
		{"read readv getdents getdents64 getdirentries", []Need{{"fd", Of(Read), ""}}},
		{"write writev", []Need{{"fd", Of(Write), ""}}},
		{"pread pread64 preadv aio_read", []Need{{"fd", Of(Pread), ""}}},
		{"pwrite pwrite64 pwritev aio_write", []Need{{"fd", Of(Pwrite), ""}}},
		{"preadv2", []Need{
			{"fd", Of(Read), ""},
			{"fd", Of(Seek), "the offset is not -1"},
			{"fd", Of(Seek), "RWF_NOAPPEND, or a flag that is not known to leave the offset alone"},
		}},
		{"pwritev2", []Need{
			{"fd", Of(Write), ""},
			{"fd", Of(Seek), "the offset is not -1 and RWF_APPEND is not set"},
			{"fd", Of(Seek), "RWF_NOAPPEND, or a flag that is not known to leave the offset alone"},
			{"fd", Of(Fsync), "RWF_SYNC or RWF_DSYNC"},
		}},
		{"lseek", []Need{{"fd", Of(Seek), ""}}},
		{"fsync fdatasync syncfs aio_fsync", []Need{{"fd", Of(Fsync), ""}}},
		{"sync_file_range", []Need{{"fd", Of(Fsync, Seek), ""}}},
		{"ftruncate", []Need{{"fd", Of(Ftruncate), ""}}},
		{"fallocate posix_fallocate fspacectl", []Need{{"fd", Of(Pwrite), ""}}},
		{"readahead", []Need{{"fd", Of(Read), ""}}},
		{"copy_file_range splice", []Need{
			{"in", Of(Read), ""},
			{"in", Of(Seek), "its offset is given"},
			{"out", Of(Write), ""},
			{"out", Of(Seek), "its offset is given"},
		}},
		{"sendfile", []Need{{"in", Of(Pread), ""}, {"out", Of(Write), ""}}},
		{"tee", []Need{{"in", Of(Read), ""}, {"out", Of(Write), ""}}},
		{"vmsplice", []Need{
			{"fd", Of(Write), "memory goes into the pipe"},
			{"fd", Of(Read), "the pipe goes into memory"},
		}},
		{"io_submit lio_listio", []Need{
			{"fd", Of(Pread), "a read"},
			{"fd", Of(Pwrite), "a write"},
			{"fd", Of(Fsync), "an fsync"},
			{"fd", Of(Event), "a poll"},
		}},
		{"mmap", []Need{
			{"fd", Of(Mmap), "not MAP_ANONYMOUS"},
			{"fd", Of(MmapR), "PROT_READ"},
			{"fd", Of(MmapW), "PROT_WRITE and MAP_SHARED"},
			{"fd", Of(MmapX), "PROT_EXEC"},
		}},

		// Names.
		{"open openat openat2", []Need{
			{"dir", Of(Lookup), ""},
			{"dir", Of(Read), "O_RDONLY, O_RDWR, or O_PATH, without O_EXEC"},
			{"dir", Of(Write), "O_WRONLY or O_RDWR, without O_EXEC and O_PATH"},
			{"dir", Of(Seek), "O_WRONLY or O_RDWR, without O_EXEC, O_PATH, O_APPEND and O_TRUNC"},
			{"dir", Of(Create), "O_CREAT or O_TMPFILE"},
			{"dir", Of(Ftruncate), "O_TRUNC"},
			{"dir", Of(Fsync), "O_SYNC or O_DSYNC"},
			{"dir", Of(Flock), "O_SHLOCK or O_EXLOCK"},
			{"dir", Of(Fexecve), "O_EXEC or O_SEARCH"},
		}},
		{"readlinkat readlink", []Need{{"dir", Of(Lookup), ""}}},
		{"stat lstat access", []Need{{"dir", Of(Fstatat), ""}}},
		{"fstatat newfstatat statx faccessat faccessat2", []Need{
			{"dir", Of(Fstatat), "the path is not empty"},
			{"dir", Of(Fstat), "the path is empty"},
		}},
		{"fchmodat fchmodat2 chmod", []Need{{"dir", Of(Fchmodat), ""}}},
		{"fchownat chown lchown", []Need{{"dir", Of(Fchownat), ""}}},
		{"chflagsat", []Need{{"dir", Of(Chflagsat), ""}}},
		{"utimensat futimesat utime utimes", []Need{
			{"dir", Of(Futimesat), "a path is given"},
			{"dir", Of(Futimes), "no path is given"},
		}},
		{"mkdirat mkdir", []Need{{"dir", Of(Mkdirat), ""}}},
		{"mkfifoat mkfifo", []Need{{"dir", Of(Mkfifoat), ""}}},
		{"mknodat mknod", []Need{
			{"dir", Of(Mknodat), "a device"},
			{"dir", Of(Mkfifoat), "a FIFO"},
			{"dir", Of(Create, Lookup), "a regular file"},
			{"dir", Of(Bind, Lookup), "a socket"},
		}},
		{"symlinkat symlink", []Need{{"dir", Of(Symlinkat), ""}}},
		{"unlinkat funlinkat unlink rmdir", []Need{{"dir", Of(Unlinkat), ""}}},
		{"linkat link", []Need{{"olddir", Of(LinkatSource), ""}, {"newdir", Of(LinkatTarget), ""}}},
		{"renameat rename", []Need{
			{"olddir", Of(RenameatSource), ""},
			{"newdir", Of(RenameatTarget), ""},
			{"newdir", Of(Unlinkat), "the new name exists"},
		}},
		{"renameat2", []Need{
			{"olddir", Of(RenameatSource), ""},
			{"newdir", Of(RenameatTarget), ""},
			{"newdir", Of(Unlinkat), "the new name exists and RENAME_NOREPLACE is not set"},
			{"olddir", Of(RenameatTarget, Unlinkat), "RENAME_EXCHANGE"},
			{"newdir", Of(RenameatSource, Unlinkat), "RENAME_EXCHANGE"},
			{"olddir", Of(Mknodat), "RENAME_WHITEOUT"},
		}},
		{"truncate", []Need{{"dir", Of(Write, Ftruncate, Lookup), ""}}},
		{"creat", []Need{{"dir", Of(Write, Create, Ftruncate, Lookup), ""}}},
		{"statfs", []Need{{"dir", Of(Fstatfs, Lookup), ""}}},
		{"pathconf", []Need{{"dir", Of(Fpathconf, Lookup), ""}}},
		{"getxattr lgetxattr", []Need{{"dir", Of(ExtattrGet, Lookup), ""}}},
		{"setxattr lsetxattr", []Need{{"dir", Of(ExtattrSet, Lookup), ""}}},
		{"listxattr llistxattr", []Need{{"dir", Of(ExtattrList, Lookup), ""}}},
		{"removexattr lremovexattr", []Need{{"dir", Of(ExtattrDelete, Lookup), ""}}},
		{"execve", []Need{{"dir", Of(Fexecve, Lookup), ""}}},
		{"name_to_handle_at", []Need{{"dir", Of(Fstatat), ""}}},
		{"execveat", []Need{
			{"dir", Of(Fexecve), ""},
			{"dir", Of(Lookup), "the path is not empty"},
		}},
		{"fexecve", []Need{{"fd", Of(Fexecve), ""}}},
		{"fchdir", []Need{{"fd", Of(Fchdir), ""}}},
		{"fchroot", []Need{{"fd", Of(Fchroot), ""}}},

		// What a file is.
		{"fstat cachestat", []Need{{"fd", Of(Fstat), ""}}},
		{"fstatfs", []Need{{"fd", Of(Fstatfs), ""}}},
		{"fpathconf", []Need{{"fd", Of(Fpathconf), ""}}},
		{"fchmod", []Need{{"fd", Of(Fchmod), ""}}},
		{"fchown", []Need{{"fd", Of(Fchown), ""}}},
		{"fchflags", []Need{{"fd", Of(Fchflags), ""}}},
		{"futimens futimes", []Need{{"fd", Of(Futimes), ""}}},
		{"fgetxattr extattr_get_fd", []Need{{"fd", Of(ExtattrGet), ""}}},
		{"fsetxattr extattr_set_fd", []Need{{"fd", Of(ExtattrSet), ""}}},
		{"flistxattr extattr_list_fd", []Need{{"fd", Of(ExtattrList), ""}}},
		{"fremovexattr extattr_delete_fd", []Need{{"fd", Of(ExtattrDelete), ""}}},
		{"acl_get_fd", []Need{{"fd", Of(AclGet), ""}}},
		{"acl_set_fd", []Need{{"fd", Of(AclSet), ""}}},
		{"acl_delete_fd_np", []Need{{"fd", Of(AclDelete), ""}}},
		{"acl_valid_fd_np", []Need{{"fd", Of(AclCheck), ""}}},
		{"mac_get_fd", []Need{{"fd", Of(MacGet), ""}}},
		{"mac_set_fd", []Need{{"fd", Of(MacSet), ""}}},

		// The descriptor itself.
		{"close close_range closefrom dup dup2 dup3 posix_fadvise fadvise64 mprotect", nil},
		{"cap_rights_limit cap_rights_get cap_ioctls_limit cap_ioctls_get cap_fcntls_limit cap_fcntls_get", nil},
		{"flock", []Need{{"fd", Of(Flock), ""}}},
		{"fcntl", []Need{
			{"fd", Of(Fcntl), "F_GETFL, F_SETFL, F_GETOWN, F_SETOWN, or the _EX forms"},
			{"fd", Of(Flock), "F_GETLK, F_SETLK, F_SETLKW, or the OFD forms"},
			{"fd", Of(Flock, Event), "F_GETLEASE or F_SETLEASE"},
			{"fd", Of(Fcntl, Event), "F_GETSIG or F_SETSIG"},
			{"fd", Of(InotifyAdd), "F_NOTIFY"},
			{"fd", Of(Getsockopt), "F_GETPIPE_SZ"},
			{"fd", Of(Setsockopt), "F_SETPIPE_SZ"},
			{"fd", Of(Fstat), "F_GET_SEALS"},
			{"fd", Of(Fchmod), "F_ADD_SEALS"},
		}},
		{"ioctl", []Need{{"fd", Of(Ioctl), ""}}},

		// Waiting.
		{"poll ppoll select pselect pselect6 aio_poll", []Need{{"fd", Of(Event), ""}}},
		{"kevent", []Need{
			{"fd", Of(KqueueChange), "changes are given"},
			{"fd", Of(KqueueEvent), "events are wanted"},
			{"target", Of(Event), "it is watched"},
		}},
		{"epoll_ctl", []Need{{"fd", Of(KqueueChange), ""}, {"target", Of(Event), ""}}},
		{"epoll_wait epoll_pwait epoll_pwait2", []Need{{"fd", Of(KqueueEvent), ""}}},
		{"timerfd_settime", []Need{
			{"fd", Of(Write), ""},
			{"fd", Of(Read), "the old value is wanted"},
		}},
		{"timerfd_gettime", []Need{{"fd", Of(Read), ""}}},
		{"signalfd signalfd4", []Need{{"fd", Of(Write), "the mask of an existing descriptor changes"}}},
		{"inotify_add_watch inotify_add_watch_at", []Need{{"fd", Of(InotifyAdd), ""}, {"dir", Of(Lookup), ""}}},
		{"inotify_rm_watch", []Need{{"fd", Of(InotifyRm), ""}}},
		{"fanotify_mark", []Need{
			{"fd", Of(InotifyAdd), "FAN_MARK_ADD"},
			{"fd", Of(InotifyRm), "FAN_MARK_REMOVE or FAN_MARK_FLUSH"},
			{"dir", Of(Fstat), ""},
			{"dir", Of(Lookup), "a path is given"},
		}},

		// Message queues and semaphores.
		{"mq_timedsend mq_send", []Need{{"fd", Of(Write), ""}}},
		{"mq_timedreceive mq_receive", []Need{{"fd", Of(Read), ""}}},
		{"mq_notify mq_getsetattr mq_getattr mq_setattr", []Need{{"fd", Of(Event), ""}}},
		{"sem_getvalue", []Need{{"fd", Of(SemGetvalue), ""}}},
		{"sem_post", []Need{{"fd", Of(SemPost), ""}}},
		{"sem_wait sem_trywait sem_timedwait", []Need{{"fd", Of(SemWait), ""}}},

		// Sockets.
		{"accept accept4", []Need{{"socket", Of(Accept), ""}}},
		{"bind", []Need{{"socket", Of(Bind), ""}}},
		{"connect", []Need{{"socket", Of(Connect), ""}}},
		{"bindat", []Need{{"dir", Of(Bindat), ""}, {"socket", Of(Bind), ""}}},
		{"connectat", []Need{{"dir", Of(Connectat), ""}, {"socket", Of(Connect), ""}}},
		{"listen", []Need{{"socket", Of(Listen), ""}}},
		{"shutdown", []Need{{"socket", Of(Shutdown), ""}}},
		{"getpeername", []Need{{"socket", Of(Getpeername), ""}}},
		{"getsockname", []Need{{"socket", Of(Getsockname), ""}}},
		{"getsockopt", []Need{{"socket", Of(Getsockopt), ""}}},
		{"setsockopt", []Need{{"socket", Of(Setsockopt), ""}}},
		{"sctp_peeloff", []Need{{"socket", Of(Peeloff), ""}}},
		{"send sendto sendmsg sendmmsg", []Need{
			{"socket", Of(Write), ""},
			{"socket", Of(Connect), "an address is given"},
		}},
		{"recv recvfrom recvmsg recvmmsg", []Need{{"socket", Of(Read), ""}}},

		// Processes.
		{"pdgetpid", []Need{{"fd", Of(Pdgetpid), ""}}},
		{"pdkill pidfd_send_signal", []Need{{"fd", Of(Pdkill), ""}}},
		{"pdwait pdwait4", []Need{{"fd", Of(Pdwait), ""}}},
		{"waitid", []Need{{"fd", Of(Pdwait), "P_PIDFD"}}},
		{"pidfd_open", nil},
		{"pddupfd pidfd_getfd", []Need{{"fd", Of(Pddupfd), ""}}},
	}
})
