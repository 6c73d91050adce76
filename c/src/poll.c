/*
 * poll() and select() where filters alone confine. Which descriptors they ask about is
 * in memory, so that once one lacks CAP_EVENT a filter refuses them all. epoll has each
 * descriptor in a register of its own call: what is refused is asked again that way.
 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE /* the functions here are what it makes of those */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/capsicum.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>

#include "library.h"

#define KERNEL_SIGSET 8 /* bytes of the kernel's sets of signals */

/* What a file that epoll does not take is always ready for. */
#define ALWAYS (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)

static int answer(long r)
{
	if (r < 0) {
		errno = (int)-r;
		return -1;
	}
	return (int)r;
}

/* Whether the kernel takes t for a time to wait. */
static bool valid(const struct timespec *t)
{
	return !t || (t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000);
}

/* Milliseconds, rounded up; -1 is for ever. */
static int milliseconds(const struct timespec *t)
{
	if (!t)
		return -1;
	if (t->tv_sec >= INT_MAX / 1000)
		return INT_MAX;
	return (int)(t->tv_sec * 1000 + (t->tv_nsec + 999999) / 1000000);
}

/* Whether an earlier entry is about the same descriptor, which then stands for both. */
static bool again(const struct pollfd *fds, unsigned long i)
{
	for (unsigned long j = 0; j < i; j++)
		if (fds[j].fd == fds[i].fd)
			return true;
	return false;
}

/* Says of every entry about one descriptor what it is ready for; how many that are. */
static int tell(struct pollfd *fds, unsigned long n, int fd, unsigned events)
{
	int told = 0;
	for (unsigned long i = 0; i < n; i++) {
		if (fds[i].fd != fd)
			continue;
		fds[i].revents = (short)(events & ((unsigned)fds[i].events | POLLERR | POLLHUP | POLLNVAL));
		told += fds[i].revents != 0;
	}
	return told;
}

/* Has an epoll descriptor watch; how many entries are ready without. */
static long watch(int epoll, struct pollfd *fds, unsigned long n)
{
	long ready = 0;
	for (unsigned long i = 0; i < n; i++)
		fds[i].revents = 0;
	for (unsigned long i = 0; i < n; i++) {
		if (fds[i].fd < 0 || again(fds, i))
			continue;
		struct epoll_event event = {0, {.fd = fds[i].fd}};
		for (unsigned long j = i; j < n; j++)
			if (fds[j].fd == fds[i].fd)
				event.events |= (unsigned short)fds[j].events;
		long r = CALL4(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, fds[i].fd, &event);
		if (r == -EPERM)
			ready += tell(fds, n, fds[i].fd, ALWAYS);
		else if (r == -EBADF || r == -ENOTCAPABLE) /* as where a supervisor looks */
			ready += tell(fds, n, fds[i].fd, POLLNVAL);
		else if (r < 0)
			return r;
	}
	return ready;
}

/* What the wait by way of epoll holds. */
struct held {
	int epoll;
	struct epoll_event *events;
	size_t size; /* of events, where they are mapped */
	struct epoll_event few[16];
};

static void let_go(void *arg)
{
	struct held *h = arg;
	if (h->events != h->few)
		munmap(h->events, h->size);
	CALL1(SYS_close, h->epoll);
}

static long wait_each(struct held *h, struct pollfd *fds, unsigned long n, int timeout, const sigset_t *mask)
{
	long ready = watch(h->epoll, fds, n);
	if (ready < 0)
		return ready;
	long r = capsicum_wait_call(SYS_epoll_pwait, h->epoll, (long)h->events, n ? (long)n : 1, ready > 0 ? 0 : timeout, (long)mask,
	    KERNEL_SIGSET);
	for (long i = 0; i < r; i++)
		ready += tell(fds, n, h->events[i].data.fd, h->events[i].events);
	return r < 0 ? r : ready;
}

/* poll by way of epoll; ENOTCAPABLE stays where there is no descriptor for that. */
static long poll_each(struct pollfd *fds, unsigned long n, int timeout, const sigset_t *mask)
{
	struct held h;
	if (n > INT_MAX / sizeof *h.events)
		return -EINVAL;
	if ((h.epoll = (int)CALL1(SYS_epoll_create1, EPOLL_CLOEXEC)) < 0)
		return -ENOTCAPABLE;
	h.events = h.few;
	h.size = n * sizeof *h.events;
	if (n > sizeof h.few / sizeof *h.few) {
		h.events = mmap(NULL, h.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (h.events == MAP_FAILED) {
			CALL1(SYS_close, h.epoll);
			return -ENOMEM;
		}
	}
	long r;
	pthread_cleanup_push(let_go, &h);
	r = wait_each(&h, fds, n, timeout, mask);
	pthread_cleanup_pop(1);
	return r;
}

PUBLIC int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec left = {0, 0};
	if (timeout)
		left = *timeout; /* the kernel says in it what is left */
	long r = capsicum_wait_call(SYS_ppoll, (long)fds, (long)n, timeout ? (long)&left : 0, (long)mask, KERNEL_SIGSET, 0);
	if (r == -ENOTCAPABLE)
		r = valid(timeout) ? poll_each(fds, n, milliseconds(timeout), mask) : -EINVAL;
	return answer(r);
}

PUBLIC int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct timespec t = {timeout / 1000, timeout % 1000 * 1000000L};
	return ppoll(fds, n, timeout < 0 ? NULL : &t, NULL);
}

/* What select's three sets ask for, and are told of. */
static const struct {
	int asked, told;
} kinds[3] = {
	{POLLIN | POLLRDNORM | POLLRDBAND, POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR},
	{POLLOUT | POLLWRNORM | POLLWRBAND, POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR},
	{POLLPRI, POLLPRI},
};

/* select by way of poll by way of epoll; fds has room for n. */
static long select_each(struct pollfd *fds, int n, fd_set *const sets[3], int timeout, const sigset_t *mask)
{
	unsigned long used = 0;
	for (int fd = 0; fd < n; fd++) {
		fds[used] = (struct pollfd){fd, 0, 0};
		for (int k = 0; k < 3; k++)
			if (sets[k] && FD_ISSET(fd, sets[k]))
				fds[used].events |= (short)kinds[k].asked;
		used += fds[used].events != 0;
	}
	long r = poll_each(fds, used, timeout, mask);
	if (r < 0)
		return r;
	for (unsigned long i = 0; i < used; i++)
		if (fds[i].revents & POLLNVAL)
			return CALL2(SYS_fcntl, fds[i].fd, F_GETFD) == -EBADF ? -EBADF : -ENOTCAPABLE;
	int told = 0;
	for (unsigned long i = 0; i < used; i++)
		for (int k = 0; k < 3; k++) {
			if (!sets[k] || !FD_ISSET(fds[i].fd, sets[k]))
				continue;
			if (fds[i].revents & kinds[k].told)
				told++;
			else
				FD_CLR(fds[i].fd, sets[k]);
		}
	return told;
}

PUBLIC int pselect(int n, fd_set *in, fd_set *out, fd_set *except, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec left = {0, 0};
	if (timeout)
		left = *timeout;
	const long signals[2] = {(long)mask, KERNEL_SIGSET};
	long r = capsicum_wait_call(SYS_pselect6, n, (long)in, (long)out, (long)except, timeout ? (long)&left : 0, (long)signals);
	if (r == -ENOTCAPABLE && (n < 0 || !valid(timeout))) {
		r = -EINVAL; /* the filter came first */
	} else if (r == -ENOTCAPABLE && n <= FD_SETSIZE) {
		fd_set *const sets[3] = {in, out, except};
		struct pollfd fds[FD_SETSIZE + 1];
		r = select_each(fds, n, sets, milliseconds(timeout), mask);
	}
	return answer(r);
}

/* The same time; the longest for one that is longer than there are numbers for. False for none. */
static bool convert(const struct timeval *from, struct timespec *to)
{
	if (from->tv_sec < 0 || from->tv_usec < 0)
		return false;
	to->tv_nsec = from->tv_usec % 1000000 * 1000;
	if (__builtin_add_overflow(from->tv_sec, from->tv_usec / 1000000, &to->tv_sec)) {
		to->tv_sec = LONG_MAX;
		to->tv_nsec = 999999999;
	}
	return true;
}

/* What is left of t, which began at a time of the clock. */
static struct timeval rest(const struct timespec *t, const struct timespec *begun)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	/* The clock does not go back: nothing is added to t that overflows. */
	struct timeval left = {t->tv_sec - (now.tv_sec - begun->tv_sec), (t->tv_nsec - (now.tv_nsec - begun->tv_nsec)) / 1000};
	if (left.tv_usec < 0) {
		left.tv_usec += 1000000;
		left.tv_sec--;
	} else if (left.tv_usec >= 1000000) {
		left.tv_usec -= 1000000;
		left.tv_sec++;
	}
	if (left.tv_sec < 0)
		left = (struct timeval){0, 0};
	return left;
}

PUBLIC int select(int n, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
	struct timespec t, begun;
	if (!timeout)
		return pselect(n, in, out, except, NULL, NULL);
	if (!convert(timeout, &t))
		return answer(-EINVAL);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	int r = pselect(n, in, out, except, &t, NULL);
	if (r >= 0 || errno != EINVAL)
		*timeout = rest(&t, &begun); /* as Linux says */
	return r;
}

#ifdef __GLIBC__
/* What -D_FORTIFY_SOURCE makes of poll and ppoll. */
PUBLIC int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
	if (size / sizeof *fds < n)
		abort();
	return poll(fds, n, timeout);
}

PUBLIC int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size)
{
	if (size / sizeof *fds < n)
		abort();
	return ppoll(fds, n, timeout, mask);
}
#endif
