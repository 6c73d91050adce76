/*
 * Waiting for a process by its descriptor. How it ended is in the descriptor, and
 * whoever holds that may take it. That it stopped, or goes on, the kernel tells its
 * parent alone: the helper, which keeps it in memory of who called pdfork().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/procdesc.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library.h"
#include "procdesc.h"

#define CHANGES (WUNTRACED | WCONTINUED)

static int result(long r)
{
	if (r >= 0)
		return (int)r;
	errno = (int)-r;
	return -1;
}

/* The process's end: 0, and what the record says of it. */
static long end(int fd, struct record *r, int options)
{
	long leave = options & WNOWAIT ? WAIT_LEAVE : 0;
	long e = capsicum_wait_call(REQUEST, REQUEST_PDWAIT, fd, (long)r, leave | (options & WNOHANG ? WAIT_NOT : 0), 0, 0);
	if (e != -ENOSYS)
		return e;
	for (;;) {
		e = capsicum_pd_end(fd, r, leave);
		if (e <= 0)
			return e;
		if (options & WNOHANG)
			return -EAGAIN;
		struct pollfd p = {fd, 0, 0};
		if (poll(&p, 1, -1) < 0)
			return -errno;
		if (p.revents & POLLNVAL)
			return -EBADF;
	}
}

/* Whether there is a change that is asked for, and that nobody was told. */
static bool changed(struct watch *w, struct record *r, int options)
{
	for (;;) {
		uint32_t told = atomic_load(&w->told), now = atomic_load(&w->lives);
		if (now == 0 || now == told)
			return false;
		if (now & 1) {
			CALL0(SYS_sched_yield); /* being written */
			continue;
		}
		*r = w->seen;
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load(&w->lives) != now)
			continue;
		if (!(r->info.si_code == CLD_STOPPED && options & WUNTRACED) && !(r->info.si_code == CLD_CONTINUED && options & WCONTINUED))
			return false;
		if (options & WNOWAIT || atomic_compare_exchange_strong(&w->told, &told, now))
			return true;
	}
}

/* The same as end(), or a change. */
static long end_or_change(int fd, struct record *r, int options, struct watch *volatile *w)
{
	for (bool sought = false;;) {
		uint32_t now = *w ? atomic_load(&(*w)->lives) : 0;
		long e = capsicum_pd_end(fd, r, WAIT_LEAVE);
		if (e == 0 && options & WEXITED)
			return end(fd, r, options);
		if (e <= 0)
			return e < 0 ? e : -ECHILD;
		if (!*w) {
			/* Who has ended meanwhile may be forgotten. */
			if (sought)
				return -EOPNOTSUPP;
			sought = true;
			*w = capsicum_pd_watch((uint64_t)e);
			continue;
		}
		if (changed(*w, r, options))
			return 0;
		if (options & WNOHANG)
			return -EAGAIN;
		/* A helper that is killed closes the descriptor a little later. */
		e = now == 0 ? end(fd, r, WEXITED | WNOWAIT) : capsicum_wait_call(SYS_futex, (long)&(*w)->lives, FUTEX_WAIT, now, 0, 0, 0);
		if (e == -EINTR)
			return e;
	}
}

static void give_back(void *arg)
{
	struct watch *volatile *w = arg;
	if (*w)
		capsicum_pd_unwatch(*w);
}

static long wait_for_change(int fd, struct record *r, int options)
{
	struct watch *volatile w = NULL; /* the handler is to see what is stored below */
	long e;
	pthread_cleanup_push(give_back, (void *)&w);
	e = end_or_change(fd, r, options, &w);
	pthread_cleanup_pop(1);
	return e;
}

static long wait_for(int fd, struct record *r, int options)
{
	if (options & CHANGES)
		return wait_for_change(fd, r, options);
	if (options & WEXITED)
		return end(fd, r, options);
	/* Only who traces a process is told of its traps: all that there is to wait for is that there will be none. */
	long e = end(fd, r, options | WNOWAIT);
	return e < 0 ? e : -ECHILD;
}

static int status_of(const siginfo_t *info)
{
	switch (info->si_code) {
	case CLD_EXITED:
		return (info->si_status & 0xff) << 8;
	case CLD_DUMPED:
		return info->si_status | 0x80;
	case CLD_STOPPED:
		return info->si_status << 8 | 0x7f;
	case CLD_CONTINUED:
		return 0xffff;
	}
	return info->si_status;
}

static void used(struct rusage *rusage, const struct record *r)
{
	memset(rusage, 0, sizeof *rusage);
	memcpy(rusage, r->rusage, sizeof r->rusage);
}

PUBLIC int pdwait(int fd, int *status, int options, struct __wrusage *wrusage, siginfo_t *info)
{
	struct record r = {0};
	const int events = WEXITED | CHANGES | WTRAPPED;
	if ((options & ~(events | WNOHANG | WNOWAIT)) || !(options & events))
		return result(-EINVAL);
	long e = wait_for(fd, &r, options);
	if (e == -ECHILD)
		e = -ESRCH;
	if (e == -EBADF && fcntl(fd, F_GETFD) >= 0)
		e = -EINVAL;
	if (e < 0)
		return result(e);
	if (status)
		*status = status_of(&r.info);
	if (wrusage) {
		memset(wrusage, 0, sizeof *wrusage);
		used(&wrusage->wru_self, &r);
	}
	if (info)
		*info = r.info;
	capsicum_pd_sweep();
	return 0;
}

PUBLIC int pdwait4(int fd, int *status, int options, struct rusage *rusage)
{
	struct record r = {0};
	if (options & ~(WNOHANG | CHANGES))
		return result(-EINVAL);
	long e = wait_for(fd, &r, options | WEXITED);
	if (e == -EAGAIN && options & WNOHANG)
		return 0;
	if (e < 0)
		return result(e);
	if (status)
		*status = status_of(&r.info);
	if (rusage)
		used(rusage, &r);
	capsicum_pd_sweep();
	return r.info.si_pid;
}

/*
 * The child's parent is its helper. A wait for it by its number is answered from the
 * descriptor, as long as that is open.
 */
PUBLIC pid_t wait4(pid_t pid, int *status, int options, struct rusage *rusage)
{
	long r = capsicum_wait_call(SYS_wait4, pid, (long)status, options, (long)rusage, 0, 0);
	int fd = r == -ECHILD && pid > 0 ? capsicum_pd_of(pid) : -1;
	return fd < 0 ? result(r) : pdwait4(fd, status, options & (WNOHANG | CHANGES), rusage);
}

PUBLIC pid_t waitpid(pid_t pid, int *status, int options)
{
	return wait4(pid, status, options, NULL);
}
