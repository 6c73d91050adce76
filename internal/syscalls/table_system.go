package syscalls

import "golang.org/x/sys/unix"

const ofMachine = "changes the machine, not the sandbox"

var systemGroups = func() []group {
	return []group{
		{"bpf perf_event_open", "Loads programs into the kernel, and measures it.", []Rule{
			refuse(unix.EPERM, "reads and steers far more than the caller's own processes"),
		}},
		{"kexec_load kexec_file_load init_module finit_module delete_module reboot", "Replaces the kernel or parts of it.", []Rule{
			refuse(unix.EPERM, ofMachine),
		}},
		{"sethostname setdomainname", "Names the machine.", []Rule{
			refuse(unix.EPERM, "the name was chosen with --hostname, or is the host's"),
		}},
		{"syslog", "Reads the kernel's log.", []Rule{
			refuse(unix.EPERM, "the log is about everyone"),
		}},
		{"iopl ioperm", "Drives hardware ports.", []Rule{
			refuse(unix.EPERM, ofMachine),
		}},
		{"vhangup", "Hangs up the terminal.", []Rule{
			refuse(unix.EPERM, "the terminal belongs to the session outside"),
		}},
		{"modify_ldt", "Installs segment descriptors.", []Rule{
			refuse(unix.ENOSYS, "serves 16-bit programs only, and has a long history of kernel bugs; as on a kernel built without it"),
		}},
		{"lookup_dcookie nfsservctl _sysctl create_module get_kernel_syms query_module getpmsg putpmsg afs_syscall tuxcall " +
			"security epoll_ctl_old epoll_wait_old vserver set_thread_area get_thread_area", "Not implemented by 64-bit kernels.", []Rule{
			refuse(unix.ENOSYS, "what the kernel itself answers"),
		}},
	}
}
