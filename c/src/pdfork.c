/*
 * pdfork(). The child is made by a helper, which is its parent: a process in this one's
 * memory, beside it, that then does nothing but wait. Package procdesc tells why and
 * how; there the helper is a list of system calls, here it is a function. It has this
 * thread's thread-local storage, so that it can fork as this thread would; afterwards it
 * must not touch it, and makes its calls by itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/procdesc.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/futex.h>

#include "library.h"
#include "procdesc.h"

#define STACKABLE 256 /* filters are stacked for lower numbers */
#define STACK (96 * 1024)
#define FAILED 125

/* A message that brings a descriptor. */
struct message {
	struct msghdr header;
	struct iovec iov;
	char byte;
	uint64_t control[CMSG_SPACE(sizeof(int)) / sizeof(uint64_t)];
};

struct helper {
	struct kept kept;	 /* the first: what stays when it has ended */
	_Atomic uint32_t forked; /* 1 once there is a child, or none */
	pid_t starter;
	pid_t self; /* its number, as the child sees it */
	int error;  /* why there is no helper after the fork */
	int here, there;
	int flags, rfflags;
	jmp_buf back;
	uint64_t mask;
	uint64_t action[4]; /* the caller's at SIGCHLD, as the kernel has it */
	struct message brings;
	struct record record;
	char stack[STACK] __attribute__((aligned(16)));
};

static pid_t parent, fosterer; /* of a child: who called pdfork(), and the helper */

/* A system call that touches nothing but registers and what it is given. */
static long raw(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined __x86_64__
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return r;
#elif defined __aarch64__
	register long x8 __asm__("x8") = nr, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d,
		      x4 __asm__("x4") = e, x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
	return x0;
#else
#error "no system calls for this architecture"
#endif
}

static void ready(struct message *m)
{
	memset(m, 0, sizeof *m);
	m->iov.iov_base = &m->byte;
	m->iov.iov_len = 1;
	m->header.msg_iov = &m->iov;
	m->header.msg_iovlen = 1;
	m->header.msg_control = m->control;
	m->header.msg_controllen = sizeof m->control;
}

static long send_over(int over, int fd)
{
	struct message m;
	ready(&m);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m.header);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	return CALL3(SYS_sendmsg, over, &m.header, MSG_NOSIGNAL);
}

/* A child without its helper ends: nobody would tell of its end, nor kill it at the last close. */
static long die_with(const struct helper *h)
{
	long r = CALL2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
	/* One that was killed before is not told of. */
	return r == 0 && CALL0(SYS_getppid) != h->self ? -ESRCH : r;
}

/* The last close kills this process: the kernel sends the signal. */
static long die_at_close(int end)
{
	long r = CALL3(SYS_fcntl, end, F_SETSIG, SIGKILL);
	if (r == 0)
		r = CALL3(SYS_fcntl, end, F_SETOWN, CALL0(SYS_getpid));
	return r < 0 ? r : CALL3(SYS_fcntl, end, F_SETFL, O_RDWR | O_NONBLOCK | O_ASYNC);
}

/* Makes the descriptor: its holders' end, and the helper's. */
static long make_ends(int end[2], int one)
{
	long r = CALL4(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, end);
	if (r < 0)
		return r;
	r = CALL2(SYS_shutdown, end[1], SHUT_RD); /* nothing is sent from a descriptor */
	/* fstat() tells that it is one, and the time of the start. */
	if (r == 0)
		r = CALL2(SYS_fchmod, end[0], 0700);
	if (r == 0)
		r = CALL4(SYS_utimensat, end[0], NULL, NULL, 0);
	if (r == 0) {
		/* In capability mode only a supervisor marks a socket, of whoever made it. */
		r = CALL3(REQUEST, REQUEST_PDMARK, end[0], one - MARK);
		if (r == -ENOSYS)
			r = capsicum_call(SYS_setsockopt, end[0], SOL_SOCKET, SO_RCVLOWAT, (long)&one, sizeof one, 0);
	}
	if (r < 0) {
		CALL1(SYS_close, end[0]);
		CALL1(SYS_close, end[1]);
	}
	return r;
}

/*
 * A daemon outlives a helper that somebody kills, but not one that gets no filter, and
 * ends: it waits for the helper's word that it has. Nobody else has the descriptor yet.
 */
static long outlive(int end)
{
	struct timespec t = {0, 20000};
	char word;
	long n;
	while ((n = capsicum_call(SYS_recvfrom, end, (long)&word, 1, MSG_DONTWAIT, 0, 0)) == -EAGAIN)
		CALL2(SYS_nanosleep, &t, 0);
	if (n != 1)
		return n < 0 ? n : -ESRCH;
	return CALL2(SYS_prctl, PR_SET_PDEATHSIG, 0);
}

/* The child makes its descriptor, and hands both ends over. */
static long hand_over(struct helper *h)
{
	bool daemon = h->flags & PD_DAEMON;
	int end[2];
	long r = die_with(h);
	if (r == 0)
		r = make_ends(end, daemon ? MARK_DAEMON : MARK);
	if (r < 0)
		return r;
	if (!daemon)
		r = die_at_close(end[1]);
	if (r == 0)
		r = send_over(h->here, end[1]);
	if (r >= 0 && daemon)
		r = outlive(end[0]);
	if (r >= 0)
		r = send_over(h->there, end[0]);
	CALL1(SYS_close, end[0]);
	CALL1(SYS_close, end[1]);
	return r < 0 ? r : 0;
}

/* Closes everything but one. */
static void tidy(int there)
{
	if (raw(SYS_close_range, 0, there - 1, 0, 0, 0, 0) < 0) {
		/* Numbers for which filters were stacked are not closed together. */
		for (int n = 0; n < there && n < STACKABLE; n++)
			raw(SYS_close, n, 0, 0, 0, 0, 0);
		if (there > STACKABLE)
			raw(SYS_close_range, STACKABLE, there - 1, 0, 0, 0, 0);
	}
	raw(SYS_close_range, there + 1, ~0U, 0, 0, 0, 0);
}

/* Whether who has this action at SIGCHLD is not told how its children end: the kernel collects them. */
static bool deaf(const uint64_t action[4])
{
	return action[0] == (uint64_t)(uintptr_t)SIG_IGN || action[1] & SA_NOCLDWAIT;
}

/*
 * What a caller has at SIGCHLD is not for the helper's child, whose end must be known. The
 * helper has its own actions, and changes none that is no hindrance: functions that are
 * called at a fork see them.
 */
static void heed(struct helper *h)
{
	static const uint64_t heeding[4]; /* SIG_DFL */
	raw(SYS_rt_sigaction, SIGCHLD, 0, (long)h->action, 8, 0, 0);
	if (deaf(h->action))
		raw(SYS_rt_sigaction, SIGCHLD, (long)heeding, 0, 8, 0, 0);
}

/* The child has what the caller had, unless it is another by now: see heed(). */
static void unheed(const struct helper *h)
{
	uint64_t now[4] = {0};
	if (deaf(h->action) && CALL4(SYS_rt_sigaction, SIGCHLD, NULL, now, 8) == 0 && now[0] == 0 && now[1] == 0)
		CALL4(SYS_rt_sigaction, SIGCHLD, h->action, NULL, 8);
}

static void born(struct helper *h)
{
	unheed(h);
	fosterer = h->self;
	parent = h->rfflags & RFNOWAIT ? fosterer : h->starter;
	capsicum_pd_forget();
	int here = h->here, there = h->there;
	uint64_t mask = h->mask;
	if (hand_over(h) < 0) {
		CALL2(SYS_shutdown, here, SHUT_RDWR);
		_exit(FAILED);
	}
	if (h->rfflags & RFCFDG)
		tidy(there);
	else
		CALL1(SYS_close, here);
	CALL1(SYS_close, there);
	CALL2(SYS_munmap, h, sizeof *h);
	CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
}

/* Receives the other end of the child's descriptor; a child that ended has none. */
static int receive_end(struct helper *h)
{
	for (bool last = false;; ) {
		long n = raw(SYS_recvmsg, h->there, (long)&h->brings.header, MSG_DONTWAIT, 0, 0, 0);
		if (n > 0) {
			int fd;
			memcpy(&fd, CMSG_DATA((struct cmsghdr *)h->brings.control), sizeof fd);
			return fd;
		}
		if (n != -EAGAIN || last)
			return -1;
		h->record.info.si_pid = 0;
		raw(SYS_waitid, P_PID, h->kept.child, (long)&h->record.info, WEXITED | WNOHANG | WNOWAIT | __WALL, 0, 0);
		last = h->record.info.si_pid != 0;
		if (!last) {
			struct timespec t = {0, 20000};
			raw(SYS_nanosleep, (long)&t, 0, 0, 0, 0, 0);
		}
	}
}

#define ALLOW(nr) {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (nr)}, {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}

/*
 * A helper shares this process's memory, and not what confines it later. Were it not for
 * this filter, who takes the process over could have it do what he likes.
 */
static struct sock_filter seal[] = {
	/* Package procdesc says what this is good for. */
	{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, args)},
	{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch)},
#if defined __x86_64__
	{BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0xc000003e},
#else
	{BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0xc00000b7},
#endif
	{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL},
	{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
	ALLOW(SYS_waitid), ALLOW(SYS_wait4), ALLOW(SYS_sendto), ALLOW(SYS_shutdown), ALLOW(SYS_close), ALLOW(SYS_futex), ALLOW(SYS_exit_group),
	{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL},
};

/*
 * The child has stopped or goes on. Which it is now is told to whoever asks, until it
 * is another: what was seen before is no more. Nobody else can be asked later.
 */
static void saw(struct helper *h)
{
	struct watch *w = &h->kept.watch;
	uint32_t now = atomic_load(&w->lives);
	atomic_store(&w->lives, now + 1);
	atomic_thread_fence(memory_order_release); /* arm64 could show what follows before it is said to change */
	raw(SYS_waitid, P_PID, h->kept.child, (long)&w->seen.info, WSTOPPED | WCONTINUED | WNOHANG | __WALL, (long)w->seen.rusage, 0);
	atomic_store(&w->lives, now + 2 ? now + 2 : LIVES);
	raw(SYS_futex, (long)&w->lives, FUTEX_WAKE, 1 << 30, 0, 0, 0);
}

/* Waits for the child's end, which stays to be waited for; false if it can't be known. */
static bool watch(struct helper *h)
{
	siginfo_t *info = &h->record.info;
	while (raw(SYS_waitid, P_PID, h->kept.child, (long)info, WEXITED | WSTOPPED | WCONTINUED | WNOWAIT | __WALL, (long)h->record.rusage, 0) == 0) {
		if (info->si_code == CLD_EXITED || info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED)
			return true;
		saw(h);
	}
	return false;
}

static long confine(void)
{
	struct sock_fprog prog = {sizeof seal / sizeof seal[0], seal};
	long r = raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
	return r < 0 ? r : raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, (long)&prog, 0, 0, 0);
}

/* The helper's life after the fork. */
static void foster(struct helper *h)
{
	tidy(h->there);
	int end = receive_end(h);
	long r = end < 0 ? -ECHILD : confine();
	if (r < 0) {
		h->error = (int)-r;
		raw(SYS_exit_group, FAILED, 0, 0, 0, 0, 0); /* which the child does not survive: see outlive() */
	}
	if (h->flags & PD_DAEMON)
		raw(SYS_sendto, end, (long)&h->brings.byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
	raw(SYS_close, h->there, 0, 0, 0, 0, 0);
	/* A record that says nothing would be read as success: without one there is nothing to wait for. */
	if (watch(h))
		raw(SYS_sendto, end, (long)&h->record, sizeof h->record, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
	/* The child's number is free only after its holders can know of its end. */
	raw(SYS_shutdown, end, SHUT_RDWR, 0, 0, 0, 0);
	raw(SYS_wait4, h->kept.child, 0, __WALL, 0, 0, 0);
	raw(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}

static int help(void *arg)
{
	struct helper *h = arg;
	capsicum_join_as_child();
	h->self = (pid_t)CALL0(SYS_getpid);
	heed(h);
	pid_t pid = fork();
	if (pid == 0)
		_longjmp(h->back, 1);
	h->kept.child = pid < 0 ? -errno : pid;
	atomic_store(&h->forked, 1);
	raw(SYS_futex, (long)&h->forked, FUTEX_WAKE, 1, 0, 0, 0);
	if (pid > 0)
		foster(h);
	raw(SYS_exit_group, 0, 0, 0, 0, 0, 0);
	return 0;
}

/* Takes the descriptor, and waits until the helper is ready. */
static long receive(int here, int flags)
{
	struct message m;
	int fd = -1;
	for (;;) {
		ready(&m);
		long n = CALL3(SYS_recvmsg, here, &m.header, flags & PD_CLOEXEC ? MSG_CMSG_CLOEXEC : 0);
		if (n == -EINTR)
			continue;
		if (n > 0 && m.header.msg_controllen == sizeof m.control && fd < 0)
			memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m.header)), sizeof fd);
		if (n <= 0)
			return fd;
	}
}

static long make_pair(struct helper *h)
{
	int pair[2];
	long r = CALL4(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
	if (r < 0)
		return r;
	h->here = pair[0];
	h->there = pair[1];
	if (capsicum_supervised()) {
		r = CALL3(SYS_fcntl, pair[1], F_DUPFD_CLOEXEC, STACKABLE);
		CALL1(SYS_close, pair[1]);
		if (r < 0)
			CALL1(SYS_close, pair[0]);
		h->there = (int)r;
	}
	return r < 0 ? r : 0;
}

/* Starts the helper, and waits for its fork. Every signal is blocked. */
static long start(struct helper *h)
{
	atomic_store(&h->kept.watch.lives, LIVES);
	atomic_store(&h->kept.watch.told, LIVES);
	int pid = clone(help, h->stack + STACK, CLONE_VM | CLONE_CHILD_CLEARTID, h, NULL, NULL, (void *)&h->kept.watch.lives);
	if (pid < 0)
		return -errno;
	h->kept.pid = pid;
	while (atomic_load(&h->forked) == 0 && atomic_load(&h->kept.watch.lives) != 0)
		capsicum_futex_wait((uint32_t *)&h->forked, 0, 20);
	return h->kept.child;
}

static pid_t pdfork_with(struct helper *h, int *fdp)
{
	uint64_t all = ~0ULL;
	CALL4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &h->mask, 8);
	if (_setjmp(h->back)) {
		born(h);
		return 0;
	}
	long child = start(h);
	CALL1(SYS_close, h->there);
	long fd = child > 0 ? receive(h->here, h->flags) : -1;
	CALL1(SYS_close, h->here);
	if (h->error > 0 && fd >= 0) {
		CALL1(SYS_close, fd);
		fd = -1;
	}
	int error = child < 0 ? (int)-child : h->error > 0 ? h->error : ECHILD;
	struct stat st;
	if (fd >= 0 && CALL2(SYS_fstat, fd, &st) == 0)
		h->kept.inode = st.st_ino;
	h->kept.fd = h->rfflags & RFNOWAIT ? -1 : (int)fd;
	uint64_t mask = h->mask;
	capsicum_pd_keep(&h->kept);
	CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
	if (fd < 0) {
		errno = error;
		return -1;
	}
	*fdp = (int)fd;
	return (pid_t)child;
}

/* What of rfork(2) can't be had for a child that another process forks, see pdfork(3). */
#define IMPOSSIBLE (RFMEM | RFSIGSHARE)
#define KNOWN (RFPROC | RFPROCDESC | RFFDG | RFCFDG | RFNOWAIT | RFTHREAD | RFLINUXTHPN | RFTSIGZMB | RFTSIGFLAGS(RFTSIGMASK) | IMPOSSIBLE)

static int refused(int rfflags)
{
	const int table = rfflags & (RFFDG | RFCFDG);
	if (rfflags == (int)RFSPAWN)
		return EOPNOTSUPP;
	if ((rfflags & ~KNOWN) || !(rfflags & RFPROC) || !(rfflags & RFPROCDESC) || table == (RFFDG | RFCFDG) || RFTSIGNUM(rfflags) > 64)
		return EINVAL;
	return table == 0 || (rfflags & IMPOSSIBLE) ? EOPNOTSUPP : 0;
}

PUBLIC pid_t pdrfork(int *fdp, int pdflags, int rfflags)
{
	int refusal = pdflags & ~PD_ALLOWED_AT_FORK ? EINVAL : refused(rfflags);
	if (refusal != 0 || !fdp) {
		errno = refusal != 0 ? refusal : EFAULT;
		return -1;
	}
	capsicum_pd_sweep();
	struct helper *h = mmap(NULL, sizeof *h, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (h == MAP_FAILED)
		return -1;
	h->kept.size = sizeof *h;
	h->flags = pdflags;
	h->rfflags = rfflags;
	h->starter = (pid_t)CALL0(SYS_getpid);
	h->record.magic = RECORD_MAGIC;
	ready(&h->brings);
	long r = make_pair(h);
	if (r < 0) {
		CALL2(SYS_munmap, h, sizeof *h);
		errno = (int)-r;
		return -1;
	}
	return pdfork_with(h, fdp);
}

PUBLIC pid_t pdfork(int *fdp, int flags)
{
	return pdrfork(fdp, flags, RFPROC | RFPROCDESC | RFFDG);
}

/* As if who called pdfork() were the parent of its child. */
PUBLIC pid_t getppid(void)
{
	pid_t real = (pid_t)CALL0(SYS_getppid);
	return real == fosterer && real > 1 ? parent : real;
}
