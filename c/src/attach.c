/*
 * Gives the running process a supervisor: the capsicum program, started as a process
 * that is nobody's child, which answers what the filter asks. Package attach has the
 * other end, and the same for Go programs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library.h"

#ifndef CAPSICUM_PROGRAM
#error "CAPSICUM_PROGRAM is where the capsicum program is installed"
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

/* The memory that both sides share while the filter's listener changes hands. */
struct page {
	_Atomic uint32_t state;
	int32_t listener; /* its number here, once installed */
	int32_t error;	  /* why the supervisor gave up */
	uint32_t count;
	struct sock_filter code[MAX_FILTER]; /* the filter to install, of count instructions */
};

enum { STARTED, INTRODUCED, READY, INSTALLED, SERVING, FAILED };

#define SHARED_FD 3 /* the supervisor's descriptor of the page */
#define AWAY 4	    /* out of the way of 0 to 3, which may be closed */

/* How long a supervisor may take to get ready, in looks of 20 ms. */
#define LOOK 20
#define LOOKS (20 * 1000 / LOOK)
#define FOR_EVER -1

/* The supervisor, for who waits for it. */
struct other {
	long pid;
	int pidfd; /* or -1: then the number must do, which may come to be another's */
	int epoll; /* tells when it has ended, or -1 */
};

/* A close that the filter does not ask about: nobody may be there to answer. */
static void close_unasked(int fd)
{
	if (fd >= 0)
		CALL2(SYS_close, fd, CLOSE_COOKIE);
}

/*
 * Prepares a look at a pidfd that the filter does not ask about, as it does about poll:
 * epoll_wait passes on low numbers that are no standard descriptor's.
 */
static int watch(int pidfd)
{
	enum { FIRST = 3, LAST = 255 };
	struct epoll_event ended = {.events = EPOLLIN};
	long made = pidfd < 0 ? -1 : CALL1(SYS_epoll_create1, EPOLL_CLOEXEC), low = -1;
	if (made < 0)
		return -1;
	if (CALL4(SYS_epoll_ctl, made, EPOLL_CTL_ADD, pidfd, &ended) == 0)
		low = CALL3(SYS_fcntl, made, F_DUPFD_CLOEXEC, FIRST);
	close_unasked((int)made);
	if (low > LAST) {
		close_unasked((int)low);
		return -1;
	}
	return low < 0 ? -1 : (int)low;
}

static bool ended(const struct other *o)
{
	struct epoll_event event;
	long n = o->epoll < 0 ? -1 : capsicum_call(SYS_epoll_pwait, o->epoll, (long)&event, 1, 0, 0, 8);
	return n < 0 ? !capsicum_alive(o->pid) : n > 0;
}

static void end_it(const struct other *o)
{
	long r = o->pidfd < 0 ? -EBADF : CALL4(SYS_pidfd_send_signal, o->pidfd, SIGKILL, 0, 0);
	if (r < 0 && r != -ESRCH)
		CALL2(SYS_kill, o->pid, SIGKILL); /* what is refused to everybody here */
}

static void set(struct page *p, uint32_t state)
{
	atomic_store(&p->state, state);
	capsicum_futex_wake((uint32_t *)&p->state);
}

static int await(struct page *p, uint32_t want, const struct other *o, int looks)
{
	while (looks != 0) {
		uint32_t now = atomic_load(&p->state);
		if (now == FAILED)
			return p->error > 0 ? -p->error : -EIO;
		if (now >= want)
			return 0;
		if (capsicum_futex_wait((uint32_t *)&p->state, now, LOOK) == -ETIMEDOUT && looks > 0)
			looks--;
		if (atomic_load(&p->state) == now && ended(o))
			return -ESRCH;
	}
	return -ETIMEDOUT;
}

/* What the two processes between here and the supervisor's program are told, and tell. */
struct start {
	int page;	     /* its descriptor */
	const char *program;
	char *argv[3];
	char *envp[2];
	volatile long pid;   /* the supervisor's */
	int pidfd;
	volatile long error; /* why there is none */
	char *stack;	     /* the supervisor's, until it executes */
};

#define STACK (64 * 1024)

/*
 * What runs on such a stack ends without a return. A sanitizer would remember its
 * frames, and take the next one's for them.
 */
#define ON_STACK __attribute__((no_sanitize_address))

ON_STACK static long become(struct start *s)
{
	struct rlimit limit;
	if (CALL4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max; /* the program's may be too few */
		CALL4(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, 0);
	}
	long r = CALL0(SYS_setsid);
	if (r < 0)
		return r;
	if ((r = CALL1(SYS_chdir, "/")) < 0)
		return r;
	long page = CALL3(SYS_fcntl, s->page, F_DUPFD, AWAY);
	if (page < 0)
		return page;
	/* Nowhere to print to: the program's output is not ours to write, nor to keep open. */
	long null = CALL2(SYS_memfd_create, "capsicum output", 0);
	if (null < 0)
		return null;
	if ((null = CALL3(SYS_fcntl, null, F_DUPFD, AWAY)) < 0)
		return null;
	for (int fd = 0; fd < SHARED_FD; fd++)
		if ((r = CALL3(SYS_dup3, null, fd, 0)) < 0)
			return r;
	if ((r = CALL3(SYS_dup3, page, SHARED_FD, 0)) < 0)
		return r;
	if ((r = CALL3(SYS_close_range, SHARED_FD + 1, ~0U, 0)) < 0)
		return r;
	/* Every signal is blocked here. The program hears those that its runtime lives by. */
	struct {
		unsigned long handler, flags, restorer;
		uint64_t mask;
	} none = {0, 0, 0, 0};
	uint64_t deaf = ~0ULL;
	const int heard[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGURG, SIGIO};
	for (unsigned i = 0; i < sizeof heard / sizeof heard[0]; i++) {
		if ((r = CALL4(SYS_rt_sigaction, heard[i], &none, 0, 8)) < 0)
			return r;
		deaf &= ~(1ULL << (heard[i] - 1));
	}
	if ((r = CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &deaf, 0, 8)) < 0)
		return r;
	return CALL3(SYS_execve, s->program, s->argv, s->envp);
}

ON_STACK static int last(void *arg)
{
	struct start *s = arg;
	s->error = become(s);
	CALL1(SYS_exit_group, 125);
	return 125;
}

/*
 * Ends at once: who is nobody's child is init's. Its table of descriptors is the caller's,
 * who so gets the supervisor's pidfd; an older kernel makes none, and nothing may be left
 * of numbers for one.
 */
ON_STACK static int between(void *arg)
{
	struct start *s = arg;
	const int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
	int n = clone(last, s->stack, flags | CLONE_PIDFD, s, &s->pidfd);
	if (n < 0)
		n = clone(last, s->stack, flags, s);
	if (n < 0)
		s->error = -errno;
	else
		s->pid = n;
	CALL1(SYS_exit_group, 0);
	return 0;
}

static const char *program(void)
{
	const char *p = getauxval(AT_SECURE) ? NULL : getenv("CAPSICUM_SUPERVISOR");
	return p && *p ? p : CAPSICUM_PROGRAM;
}

/*
 * What adopts the orphans among its descendants would adopt the supervisor too, and wait
 * for it, which waits for its end. Returns whether this process was such a one.
 */
static bool adopt(bool orphans)
{
	int was = 0;
	CALL2(SYS_prctl, PR_GET_CHILD_SUBREAPER, &was);
	if (was != orphans)
		CALL2(SYS_prctl, PR_SET_CHILD_SUBREAPER, orphans);
	return was;
}

/*
 * Starts the supervisor. Both processes share this one's memory, one after the other,
 * while it stands still: nothing is copied, however much there is. No signal tells of
 * their end, and only a wait that asks for such children collects the first.
 */
static int spawn(int page, struct other *o)
{
	char pid[24], *digit = pid + sizeof pid - 1;
	static char name[] = "capsicum: supervisor of", environment[] = "GOMAXPROCS=16";
	*digit = 0;
	for (long n = CALL0(SYS_getpid); n > 0; n /= 10)
		*--digit = (char)('0' + n % 10);
	char *stacks = mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stacks == MAP_FAILED)
		return -ENOMEM;
	struct start s = {
		page, program(), {name, digit, NULL}, {environment, NULL}, 0, -1, 0, stacks + STACK,
	};
	uint64_t all = ~0ULL, before;
	CALL4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, 8);
	bool adopts = adopt(false);
	int n = clone(between, stacks + 2 * STACK, CLONE_VM | CLONE_VFORK | CLONE_FILES, &s);
	long error = n < 0 ? -errno : 0;
	CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
	if (n >= 0)
		while (CALL4(SYS_wait4, n, 0, __WALL, 0) == -EINTR)
			;
	adopt(adopts);
	munmap(stacks, 2 * STACK);
	if (error == 0)
		error = s.error;
	if (error == 0 && s.pid <= 0)
		error = -ECHILD;
	if (error < 0) {
		close_unasked(s.pidfd);
		return (int)error;
	}
	*o = (struct other){s.pid, s.pidfd, watch(s.pidfd)};
	return 0;
}

/*
 * Shows this process to its supervisor, and installs the filter once that has found
 * that it can do its work.
 */
static int hand_over(struct page *p, int fd, const struct other *o)
{
	long r = capsicum_name(o->pid);
	if (r == 0) {
		set(p, INTRODUCED);
		r = await(p, READY, o, LOOKS);
	}
	close_unasked(fd);
	if (r < 0) {
		if (r == -ETIMEDOUT)
			end_it(o); /* it would wait as long as we live */
		(void)capsicum_name(0); /* it may be another process's number */
		return (int)r;
	}
	uint32_t n = p->count;
	if (n > MAX_FILTER)
		n = 0; /* which the kernel refuses */
	/* From here to the answer no call may be made that the filter asks about. */
	long listener = capsicum_install_listener(p->code, (int)n);
	p->listener = listener < 0 ? -1 : (int32_t)listener;
	set(p, INSTALLED); /* without a listener it ends */
	if (listener < 0) {
		(void)capsicum_name(0);
		return (int)listener;
	}
	r = await(p, SERVING, o, FOR_EVER);
	close_unasked((int)listener);
	return (int)r; /* whatever asks fails from now on; there is no way back */
}

/* A page that is larger than files may be is not only an error but a signal. */
static bool fits(void)
{
	struct rlimit limit;
	return CALL4(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, &limit) == 0 && limit.rlim_cur >= sizeof(struct page);
}

/*
 * After an error nothing has changed, but that nobody is named to Yama any more; or
 * everything that would be asked is refused.
 */
int capsicum_attach(void)
{
	if (!fits())
		return -EFBIG;
	int before = errno, fd = (int)CALL2(SYS_memfd_create, "capsicum", 1 /* MFD_CLOEXEC */);
	if (fd < 0)
		return fd;
	int r = (int)CALL2(SYS_ftruncate, fd, sizeof(struct page));
	struct page *p = MAP_FAILED;
	if (r == 0) {
		p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		r = p == MAP_FAILED ? -ENOMEM : 0;
	}
	if (r < 0) {
		close_unasked(fd);
		errno = before;
		return r;
	}
	struct other o = {0, -1, -1};
	r = spawn(fd, &o);
	if (r < 0) {
		close_unasked(fd);
	} else {
		r = hand_over(p, fd, &o);
		close_unasked(o.epoll);
		close_unasked(o.pidfd);
	}
	munmap(p, sizeof *p);
	errno = before;
	return r;
}
