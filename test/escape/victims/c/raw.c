/* Calls by number and by bit: rows 18-21, 24, 26, 36, 37, 43. */
#include "victim.h"

#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/uio.h>

#define nr(...) ((int)syscall(__VA_ARGS__))

/* uring: rings do system calls that no filter sees. */
int cmd_uring(int argc, char **argv)
{
	struct io_uring_params p = { 0 };
	int fd = nr(SYS_io_uring_setup, 4, &p);

	(void)argc, (void)argv;
	say(result(fd), "io_uring_setup");
	if (fd < 0)
		fd = 0;
	say(result(nr(SYS_io_uring_enter, fd, 0, 0, 0, NULL, 0)), "io_uring_enter");
	say(result(nr(SYS_io_uring_register, fd, IORING_REGISTER_PROBE, NULL, 0)) == ENOSYS ? ENOSYS : 0, "io_uring_register");
	return 0;
}

static long int80(long n, long a, long b, long c)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return (int)r;
}

static int raw(long r) { return r < 0 && r > -4096 ? -r : 0; }

/* foreign SECRET: the other two doors into the kernel. SECRET is copied to where 32 bits reach. */
int cmd_foreign(int argc, char **argv)
{
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	static const int x32[] = { SYS_getpid, SYS_openat, SYS_open, SYS_ptrace, SYS_ioctl, SYS_execve };
	long r;

	(void)argc;
	strcpy(low, argv[1]);
	say(raw(int80(20, 0, 0, 0)), "i386-getpid");
	r = int80(5, (long)low, O_RDONLY, 0);
	say(r < 0 ? raw(r) : ok(holds_secret(r)), "i386-open");
	r = int80(295, AT_FDCWD, (long)low, O_RDONLY);
	say(r < 0 ? raw(r) : ok(holds_secret(r)), "i386-openat");
	say(raw(int80(359, AF_INET, SOCK_DGRAM, 0)), "i386-socket");
	say(raw(int80(102, 1, (long)low, 0)) == ENOSYS ? ENOSYS : 0, "i386-socketcall");
	for (unsigned i = 0; i < sizeof x32 / sizeof *x32; i++)
		say(result(nr(x32[i] | 0x40000000, AT_FDCWD, low, 0)), "x32-%d", x32[i]);
	for (int n = 512; n < 548; n++)
		say(result(nr(n | 0x40000000, 0, 0, 0)), "x32-%d", n);
	for (int n = 512; n < 548; n++)
		say(result(nr(n, 0, 0, 0)), "x32-without-bit-%d", n);
	say(result(nr((long)SYS_openat | 1l << 32, AT_FDCWD, low, 0)) == 0 ? 0 : errno, "high-number-openat");
	return 0;
}

/* numbers N...: calls by number, all arguments zero. */
int cmd_numbers(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		say(result(nr(atoi(argv[i]), 0, 0, 0, 0, 0, 0)), "number %s", argv[i]);
	say(result(nr(-1)), "number -1");
	say(result(nr(100000)), "number 100000");
	say(result(nr(0x7fffffff)), "number 2147483647");
	return 0;
}

static int child_exits(void *arg) { (void)arg; return 0; }

static int try_clone(unsigned long flags)
{
	long r = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);

	if (r == 0)
		_exit(0);
	if (r > 0)
		wait_for(r);
	return r < 0 ? errno : 0;
}

static const struct { const char *name; unsigned long flag; } spaces[] = {
	{ "user", CLONE_NEWUSER }, { "mnt", CLONE_NEWNS }, { "pid", CLONE_NEWPID }, { "net", CLONE_NEWNET },
	{ "ipc", CLONE_NEWIPC }, { "uts", CLONE_NEWUTS }, { "cgroup", CLONE_NEWCGROUP }, { "time", 0x80 },
};
#define COUNT(a) (sizeof(a) / sizeof *(a))

static unsigned long flag_now;
static void unshare_now(void) { _exit(result(nr(SYS_unshare, flag_now))); }

/* userns: new namespaces by every call, and the switches that belong to root. */
int cmd_userns(int argc, char **argv)
{
	static const char *const switches[] = { "max_user_namespaces", "max_mnt_namespaces", "max_pid_namespaces", "max_net_namespaces" };

	(void)argc, (void)argv;
	for (unsigned i = 0; i < COUNT(spaces); i++) {
		pid_t pid;

		flag_now = spaces[i].flag | (spaces[i].flag == CLONE_NEWUSER ? 0 : CLONE_NEWUSER);
		if ((pid = fork()) == 0)
			unshare_now();
		say(wait_for(pid), "unshare-%s", spaces[i].name);
		say(try_clone(flag_now & ~0x80ul), "clone-%s", spaces[i].name);
		flag_now = spaces[i].flag;
		if ((pid = fork()) == 0)
			unshare_now();
		say(wait_for(pid), "unshare-only-%s", spaces[i].name);
	}
	for (unsigned i = 0; i < COUNT(switches); i++) {
		char name[64];
		int fd;

		snprintf(name, sizeof name, "/proc/sys/user/%s", switches[i]);
		fd = open(name, O_WRONLY | O_CLOEXEC);
		say(result(fd), "write-%s", switches[i]);
	}
	flag_now = CLONE_NEWUSER;
	say(result(nr(SYS_setns, open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC), 0)), "-setns-own-user");
	say(result(nr(SYS_setns, open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC), 0)), "setns-own-uts");
	say(result(nr(SYS_setns, nr(SYS_pidfd_open, getppid(), 0), CLONE_NEWUTS)), "setns-parent");
	say(result(nr(SYS_chroot, "/")), "chroot");
	return 0;
}

static void *thread_ok(void *arg) { *(int *)arg = 1; return NULL; }

/* clone3: flags in memory, which no filter can look at. */
int cmd_clone3(int argc, char **argv)
{
	pthread_t t;
	int ran = 0;

	(void)argc, (void)argv;
	for (unsigned i = 0; i < COUNT(spaces) + 1; i++) {
		struct clone_args a = { .exit_signal = SIGCHLD };
		long r;

		if (i > 0)
			a.flags = (spaces[i - 1].flag | CLONE_NEWUSER) & ~0x80ul;
		r = syscall(SYS_clone3, &a, sizeof a);
		if (r == 0)
			_exit(0);
		if (r > 0)
			wait_for(r);
		say(r < 0 ? errno : 0, "clone3-%s", i > 0 ? spaces[i - 1].name : "nothing");
	}
	pthread_create(&t, NULL, thread_ok, &ran);
	pthread_join(t, NULL);
	say(ok(ran), "+thread");
	ran = clone(child_exits, (char *)malloc(65536) + 65536, SIGCHLD, NULL);
	say(ran < 0 ? errno : wait_for(ran), "+clone");
	return 0;
}

/* high: what a 64-bit comparison would let through, because the kernel reads 32 bits. */
int cmd_high(int argc, char **argv)
{
	static const unsigned long high[] = { 1ul << 32, 1ul << 63, 0xfffffffful << 32 };

	(void)argc, (void)argv;
	for (unsigned i = 0; i < COUNT(high); i++) {
		unsigned long h = high[i];
		char c = 'x';
		int fd;

		say(result(nr(SYS_ioctl, 0, TIOCSTI | h, &c)), "tiocsti %lx", h);
		say(result(nr(SYS_ioctl, 0 | h, TIOCSTI, &c)), "tiocsti-fd %lx", h);
		fd = nr(SYS_socket, AF_NETLINK | h, SOCK_RAW, 0);
		say(result(fd), "socket-netlink %lx", h);
		fd = nr(SYS_socket, AF_VSOCK | h, SOCK_STREAM, 0);
		say(result(fd), "socket-vsock %lx", h);
		fd = nr(SYS_socket, AF_NETLINK, SOCK_RAW | h, 0 | h);
		say(result(fd), "socket-netlink-type %lx", h);
		say(try_clone(CLONE_NEWUSER | (h & ~(1ul << 63))), "clone-newuser %lx", h);
		say(result(nr(SYS_personality, READ_IMPLIES_EXEC | h)), "personality %lx", h);
		nr(SYS_personality, 0);
		say(result(nr(SYS_prctl, PR_SET_MM | h, PR_SET_MM_BRK, sbrk(0), 0, 0)), "prctl-mm %lx", h);
		{
			struct rlimit rl = { 99, 99 };

			say(result(nr(SYS_prlimit64, 0, RLIMIT_LOCKS | h, &rl, NULL)), "=prlimit-locks %lx", h);
		}
		flag_now = CLONE_NEWUSER | h;
		fd = fork();
		if (fd == 0)
			unshare_now();
		say(wait_for(fd), "%sunshare %lx", "=", h);
		say(result(nr(SYS_ptrace | h, 0 | h, 0, 0, 0)), "=ptrace %lx", h);
	}
	return 0;
}

/* keys: key rings are not in any namespace a sandbox has. */
int cmd_keys(int argc, char **argv)
{
	int k;

	(void)argc, (void)argv;
	k = nr(SYS_add_key, "user", "capsicum", "x", 1, KEY_SPEC_PROCESS_KEYRING);
	say(result(k), "add_key");
	say(result(nr(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1)), "keyctl-session");
	say(result(nr(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0)), "keyctl-join");
	k = nr(SYS_request_key, "user", "capsicum", NULL, KEY_SPEC_PROCESS_KEYRING);
	say(k < 0 && errno == ENOSYS ? ENOSYS : 0, "request_key");
	k = open("/proc/keys", O_RDONLY | O_CLOEXEC);
	say(result(k), "proc-keys");
	k = open("/proc/key-users", O_RDONLY | O_CLOEXEC);
	say(result(k), "proc-key-users");
	return 0;
}

/* persona: personalities that undo protections. */
int cmd_persona(int argc, char **argv)
{
	static const struct { const char *name; unsigned long p; } list[] = {
		{ "read-implies-exec", READ_IMPLIES_EXEC }, { "addr-no-randomize", ADDR_NO_RANDOMIZE },
		{ "mmap-page-zero", MMAP_PAGE_ZERO }, { "addr-compat-layout", ADDR_COMPAT_LAYOUT }, { "svr4", PER_SVR4 },
	};

	(void)argc, (void)argv;
	say(result(nr(SYS_personality, 0xfffffffful)), "+query");
	say(result(nr(SYS_personality, 0ul)), "+linux");
	for (unsigned i = 0; i < COUNT(list); i++) {
		say(result(nr(SYS_personality, list[i].p)), "%s", list[i].name);
		nr(SYS_personality, 0);
	}
	return 0;
}

/* mounts T: every call of both mount interfaces. Unconfined it runs in a mount namespace of its own. */
int cmd_mounts(int argc, char **argv)
{
	const char *tree = argv[1], *dir = join(tree, "g/d");
	uint64_t attr[4] = { MOUNT_ATTR_NOEXEC, 0, 0, 0 };
	struct { uint32_t size, spare; uint64_t id, param, ns; } req = { 24, 0, 0xffffffffffffffffull, 0, 0 };
	char b[4096];
	int fs, fd;

	(void)argc;
	say(result(mount("t", dir, "tmpfs", 0, NULL)), "mount-tmpfs");
	say(result(mount(join(tree, "s"), dir, NULL, MS_BIND, NULL)), "mount-bind");
	say(result(umount2(dir, MNT_DETACH)), "umount2");
	fd = nr(SYS_open_tree, AT_FDCWD, join(tree, "g"), 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);
	say(result(fd), "open_tree");
	say(result(nr(SYS_move_mount, fd, "", AT_FDCWD, dir, 4 /* MOVE_MOUNT_F_EMPTY_PATH */)), "move_mount");
	say(result(nr(SYS_mount_setattr, AT_FDCWD, dir, 0, attr, sizeof attr)), "mount_setattr");
	fs = nr(SYS_fsopen, "tmpfs", 1);
	say(result(fs), "fsopen");
	say(result(nr(SYS_fsconfig, fs, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0)), "fsconfig");
	fd = nr(SYS_fsmount, fs, 1, 0);
	say(result(fd), "fsmount");
	fd = nr(SYS_fspick, AT_FDCWD, dir, 1);
	say(result(fd), "fspick");
	say(result(nr(467, AT_FDCWD, join(tree, "g"), 1 | O_CLOEXEC, attr, sizeof attr)), "open_tree_attr");
	say(result(nr(458, &req, b, sizeof b / 8, 0)), "listmount");
	req.id = 0, req.param = 2;
	{
		struct statx sx;

		if (statx(AT_FDCWD, "/", 0, 0x4000 /* STATX_MNT_ID_UNIQUE */, &sx) == 0)
			req.id = sx.stx_mnt_id;
	}
	say(result(nr(457, &req, b, sizeof b, 0)), "statmount");
	if (chdir(dir) == 0)
		say(result(nr(SYS_pivot_root, ".", ".")), "pivot_root");
	return 0;
}

/* refused: calls that nothing in a sandbox needs, harmless in the form they are made in. */
int cmd_refused(int argc, char **argv)
{
	struct perf_event_attr pe = { .type = PERF_TYPE_SOFTWARE, .size = sizeof pe, .config = PERF_COUNT_SW_CPU_CLOCK, .exclude_kernel = 1, .exclude_hv = 1 };
	union bpf_attr ba = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1 };
	struct iovec v = { &ba, 4 };
	char b[16];

	(void)argc, (void)argv;
	say(result(nr(SYS_perf_event_open, &pe, 0, -1, -1, 0)), "perf_event_open");
	say(result(nr(SYS_bpf, BPF_MAP_CREATE, &ba, sizeof ba)), "bpf");
	say(result(nr(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */)), "userfaultfd");
	say(result(nr(SYS_kcmp, getppid(), getpid(), 0, 0, 0)), "kcmp-parent");
	say(result(nr(SYS_syslog, 10 /* SIZE_BUFFER */, NULL, 0)), "syslog");
	say(result(nr(SYS_fanotify_init, 0x200 /* FAN_REPORT_FID */, O_RDONLY)), "fanotify_init");
	say(result(nr(SYS_quotactl, 0x80000100 /* Q_SYNC */, NULL, 0, NULL)), "quotactl");
	say(result(nr(SYS_lookup_dcookie, 0ul, b, sizeof b)) == ENOSYS ? ENOSYS : 0, "=lookup_dcookie");
	say(result(nr(SYS_process_vm_readv, getppid(), &v, 1, &v, 1, 0)) == ENOSYS ? ENOSYS : 0, "=process_vm_readv");
	say(result(nr(SYS_process_madvise, nr(SYS_pidfd_open, getpid(), 0), &v, 1, 20 /* COLD */, 0)), "=process_madvise");
	say(result(nr(SYS_modify_ldt, 0, b, sizeof b)), "=modify_ldt");
	say(result(nr(SYS_acct, NULL)), "acct");
	say(result(nr(SYS_swapoff, "/nowhere")) == ENOENT ? 0 : errno, "swapoff");
	say(result(nr(SYS_swapon, "/nowhere", 0)) == ENOENT ? 0 : errno, "swapon");
	say(result(nr(SYS_delete_module, "no_such_module", O_NONBLOCK)) == ENOENT ? 0 : errno, "delete_module");
	say(result(nr(SYS_init_module, NULL, 0, "")) == EPERM ? EPERM : errno == ENOSYS ? ENOSYS : 0, "init_module");
	say(result(nr(SYS_iopl, 0)), "=iopl");
	say(result(nr(SYS_memfd_secret, 0)), "=memfd_secret");
	say(result(nr(SYS_clock_settime, CLOCK_REALTIME, NULL)) == EFAULT ? 0 : errno, "clock_settime");
	say(result(nr(SYS_settimeofday, NULL, NULL)), "=settimeofday");
	say(result(nr(SYS_vhangup)) == EPERM ? EPERM : errno, "=vhangup");
	say(result(nr(SYS_sethostname, "", -1)) == EINVAL ? 0 : errno, "sethostname");
	say(result(nr(SYS_reboot, 1, 2, 3, NULL)) == EINVAL ? 0 : errno, "reboot");
	return 0;
}

/* filter: a listener of the attacker's own would let it answer its own calls. */
int cmd_filter(int argc, char **argv)
{
	struct sock_filter ask[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_filter allow[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog asking = { 4, ask }, allowing = { 4, allow };
	pid_t pid;

	(void)argc;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if ((pid = fork()) == 0)
		_exit(result(nr(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &asking)));
	say(wait_for(pid), "own-listener");
	/* Stacked filters that would rather not ask: the answer stays the same. */
	if ((pid = fork()) == 0) {
		if (nr(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &allowing) < 0)
			_exit(errno);
		_exit(open_secret(argv[1]));
	}
	say(wait_for(pid), "-stacked-trace");
	allow[2].k = SECCOMP_RET_ALLOW;
	if ((pid = fork()) == 0) {
		if (nr(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &allowing) < 0)
			_exit(errno);
		_exit(open_secret(argv[1]));
	}
	say(wait_for(pid), "stacked-allow");
	return 0;
}
