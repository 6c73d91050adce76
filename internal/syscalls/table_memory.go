package syscalls

import "golang.org/x/sys/unix"

var memoryGroups = func() []group {
	return []group{
		{"mmap mprotect pkey_mprotect", "Maps memory and files.", []Rule{
			pass("a file can be mapped only as it was opened, and executable only where its mount allows; a program that may " +
				"read bytes may also interpret them, so executable memory is no authority"),
		}},
		{"munmap mremap brk msync mincore madvise mlock mlock2 mlockall munlock munlockall remap_file_pages mseal map_shadow_stack",
			"Manages the program's own memory.", []Rule{pass("")}},
		{"pkey_alloc pkey_free membarrier mbind set_mempolicy get_mempolicy set_mempolicy_home_node",
			"Manages the program's own memory.", []Rule{pass("")}},
		{"migrate_pages move_pages", "Moves memory between nodes.", []Rule{
			pass("its own memory").where(is("pid 0", 0, 0)),
			refuse(unix.EPERM, "nothing keeps it to processes of the sandbox").when(noPtraceScope),
			pass("the kernel lets it touch only what it may trace, and Landlock keeps tracing inside the sandbox"),
		}},
		{"memfd_create", "Makes an anonymous file.", []Rule{
			pass("no name leads to it"),
		}},
		{"memfd_secret", "Makes memory that not even the kernel reads.", []Rule{
			refuse(unix.ENOSYS, "names in it could not be read by the supervisor; as on a kernel without it"),
		}},
		{"userfaultfd", "Handles page faults in the program.", []Rule{
			refuse(unix.EPERM, "holds the kernel, or the supervisor's copy, in the middle of a page for as long as it likes"),
		}},
		{"process_vm_readv process_vm_writev", "Reads and writes another process's memory.", []Rule{
			refuse(unix.EPERM, "nothing keeps it to processes of the sandbox").when(noPtraceScope),
			pass("the kernel asks whether tracing is allowed, and Landlock keeps tracing inside the sandbox"),
		}},
		{"process_madvise process_mrelease", "Advises on or frees another process's memory.", []Rule{
			refuse(unix.EPERM, "a descriptor of a process may have come from outside"),
		}},
	}
}

var ipcGroups = func() []group {
	return []group{
		{"shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl",
			"System V shared memory, semaphores and messages.", []Rule{
				refuse(unix.ENOSYS, "keys and identifiers are global numbers of the host, and a filter can't tell whose they are").when(landlock),
				pass("the sandbox has an IPC namespace of its own"),
			}},
		{"mq_open mq_unlink", "Opens a message queue by name.", []Rule{
			refuse(unix.ENOSYS, "queue names are global on the host").when(landlock),
			pass("the sandbox has an IPC namespace of its own"),
		}},
		{"mq_timedsend mq_timedreceive mq_notify mq_getsetattr", "Uses an open message queue.", []Rule{
			pass("the notification of mq_notify goes to the process that asked for it"),
		}},
		{"eventfd eventfd2", "Makes an event counter.", []Rule{pass("")}},
		{"add_key request_key keyctl", "Uses the kernel's key rings.", []Rule{
			refuse(unix.ENOSYS, "rings are shared by user and session, not by sandbox; as on a kernel without them"),
		}},
	}
}

var timeGroups = func() []group {
	return []group{
		{"nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getitimer setitimer alarm pause",
			"Reads clocks and waits.", []Rule{pass("")}},
		{"timer_create timer_settime timer_gettime timer_getoverrun timer_delete", "Uses timers of the process.", []Rule{
			pass("a timer can signal only threads of its own process"),
		}},
		{"timerfd_create timerfd_settime timerfd_gettime signalfd signalfd4", "Reads timers and signals from a descriptor.",
			[]Rule{pass("")}},
		{"settimeofday clock_settime adjtimex clock_adjtime", "Sets clocks.", []Rule{
			refuse(unix.EPERM, "the clock is the machine's; what adjtimex does is in memory, so reading is refused with it"),
		}},
		{"poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2", "Waits for descriptors.",
			[]Rule{pass("")}},
		{"futex futex_waitv futex_wake futex_wait futex_requeue set_robust_list rseq rseq_slice_yield sched_yield restart_syscall",
			"Waits for memory and processors.", []Rule{pass("")}},
	}
}
