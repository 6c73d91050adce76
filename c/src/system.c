/* System calls, without errno, and but for waits without cancellation. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/seccomp.h>

#include "library.h"

#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1UL << 4)
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

struct sock_filter capsicum_room[MAX_FILTER];

long capsicum_call(long nr, long a, long b, long c, long d, long e, long f)
{
	int before = errno;
	long r = syscall(nr, a, b, c, d, e, f);
	if (r == -1) {
		r = -errno;
		errno = before;
	}
	return r;
}

/*
 * A wait that may be cancelled, as the C library's may. Nothing may be held meanwhile, of
 * which no cleanup handler knows.
 */
long capsicum_wait_call(long nr, long a, long b, long c, long d, long e, long f)
{
	int before;
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
	long r = capsicum_call(nr, a, b, c, d, e, f);
	pthread_setcanceltype(before, &before);
	return r;
}

static long set_filter(struct sock_fprog *prog, unsigned long flags)
{
	return CALL3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, prog);
}

/*
 * What the kernel says of a filter that is not there: EFAULT once it has understood
 * what is asked, ENOSYS or EINVAL if it has no filters at all.
 */
static long probe(void)
{
	return set_filter(NULL, 0);
}

int capsicum_can_filter(void)
{
	return probe() == -EFAULT;
}

/*
 * ENOSYS is said of a kernel without filters only: the caller may go on unconfined
 * after it.
 */
static long refused(long e)
{
	long r = probe();
	if (r == -ENOSYS || r == -EINVAL)
		return -ENOSYS;
	return e == -ENOSYS ? -EPERM : e;
}

/* Installs a filter on all threads. After an error nothing has changed. */
long capsicum_install(struct sock_filter *code, int n)
{
	struct sock_fprog prog = {(unsigned short)n, code};
	long r = CALL2(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
	if (r < 0)
		return refused(r);
	r = set_filter(&prog, SECCOMP_FILTER_FLAG_TSYNC);
	if (r < 0)
		return refused(r);
	/* A thread that has a filter of its own. */
	return r > 0 ? -ESRCH : 0;
}

/*
 * The same for a filter that asks; the result is its descriptor. Only a fatal signal
 * takes a caller out of its wait, where the kernel knows how (5.19).
 */
long capsicum_install_listener(struct sock_filter *code, int n)
{
	struct sock_fprog prog = {(unsigned short)n, code};
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC |
	    SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
	long r = CALL2(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
	if (r < 0)
		return r;
	if (set_filter(NULL, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) == -EFAULT)
		flags |= SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	return set_filter(&prog, flags);
}

int capsicum_futex_wait(uint32_t *word, uint32_t old, long milliseconds)
{
	struct timespec t = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	return (int)CALL4(SYS_futex, word, FUTEX_WAIT, old, &t);
}

void capsicum_futex_wake(uint32_t *word)
{
	CALL3(SYS_futex, word, FUTEX_WAKE, 1 << 30);
}

/*
 * Whether a process has not ended; nobody may have collected it. The calls are ones that
 * no filter asks about: reading memory of what has ended finds none, of what has not
 * it is refused, or succeeds. Where that is refused to everybody, as in another's sandbox,
 * the kernel still knows no priority of who is not there, and needs no /proc for it.
 */
bool capsicum_alive(long pid)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {&byte, 1};
	if (capsicum_call(SYS_process_vm_readv, pid, (long)&here, 1, (long)&there, 1, 0) == -ESRCH)
		return false;
	return CALL2(SYS_getpriority, PRIO_PROCESS, pid) != -ESRCH;
}
