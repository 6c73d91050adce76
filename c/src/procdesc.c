/*
 * What holders do with process descriptors, beside waiting. With a supervisor it is
 * asked, which knows the rights; without one the kernel decides. See
 * docs/process-descriptors.md.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <sys/capsicum.h>
#include <sys/procdesc.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"
#include "procdesc.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

_Static_assert(sizeof(struct record) == 8 + 128 + 144, "the record's layout is shared");
_Static_assert(sizeof(struct rusage) >= 144, "a C library has what the kernel has");

static long option(int fd, int name, void *value, socklen_t size)
{
	return capsicum_call(SYS_getsockopt, fd, SOL_SOCKET, name, (long)value, (long)&size, 0);
}

static int number(int fd, int name)
{
	int n = -1;
	return option(fd, name, &n, sizeof n) < 0 ? -1 : n;
}

/* fd's mark, or 0 if it is no process descriptor. */
static int marked(int fd)
{
	if (number(fd, SO_DOMAIN) != AF_UNIX || number(fd, SO_TYPE) != SOCK_STREAM)
		return 0;
	int n = number(fd, SO_RCVLOWAT);
	return n == MARK || n == MARK_DAEMON ? n : 0;
}

bool capsicum_is_procdesc(int fd)
{
	return marked(fd) != 0;
}

/* What is no descriptor, what may not be looked at, or what is something else. */
static long wrong(int fd)
{
	int domain;
	long r = option(fd, SO_DOMAIN, &domain, sizeof domain);
	return r < 0 && r != -ENOTSOCK ? r : -EBADF;
}

static int result(long r)
{
	if (r >= 0)
		return (int)r;
	errno = (int)-r;
	return -1;
}

static long native_pid(int fd)
{
	struct ucred cred;
	if (!marked(fd))
		return wrong(fd);
	long r = option(fd, SO_PEERCRED, &cred, sizeof cred);
	if (r < 0)
		return r;
	return cred.pid > 0 ? cred.pid : -ESRCH;
}

enum state { RUNNING, EXITED, WAITED };

/* Whether the process has exited, and how. */
static long look(int fd, struct record *r, int flags)
{
	long n;
	do
		n = capsicum_call(SYS_recvfrom, fd, (long)r, sizeof *r, MSG_DONTWAIT | flags, 0, 0);
	while (n == -EINTR);
	if (n == -EAGAIN)
		return RUNNING;
	if (n < 0)
		return n;
	if (n == 0)
		return WAITED;
	return n == sizeof *r && r->magic == RECORD_MAGIC ? EXITED : -EBADF;
}

/*
 * A pidfd. Before Linux 6.5 it goes by the number, which is free only after the other
 * end is closed: so if that is open afterwards nobody else has it.
 */
static long open_process(int fd)
{
	struct record r;
	int pidfd;
	long e = option(fd, SO_PEERPIDFD, &pidfd, sizeof pidfd);
	if (e == 0)
		return pidfd;
	if (e == -EINVAL || e == -ENODATA)
		return -ESRCH;
	if (e != -ENOPROTOOPT)
		return e;
	long pid = native_pid(fd);
	if (pid < 0)
		return pid;
	long n = CALL2(SYS_pidfd_open, pid, 0);
	if (n >= 0 && look(fd, &r, MSG_PEEK) != RUNNING) {
		CALL1(SYS_close, n);
		return -ESRCH;
	}
	return n;
}

static long native_kill(int fd, int signum)
{
	struct record r;
	int kind = marked(fd);
	if (!kind)
		return wrong(fd);
	long s = look(fd, &r, MSG_PEEK);
	if (s < 0 || s == EXITED)
		return s < 0 ? s : 0;
	if (s == WAITED)
		return -ESRCH;
	long pidfd = open_process(fd);
	/* In capability mode without a supervisor: see package procdesc. */
	if (pidfd == -ECAPMODE && signum == SIGKILL && kind == MARK)
		return CALL2(SYS_shutdown, fd, SHUT_WR);
	long e = pidfd;
	if (pidfd >= 0) {
		e = CALL4(SYS_pidfd_send_signal, pidfd, signum, 0, 0);
		CALL1(SYS_close, pidfd);
	}
	if (e != -ESRCH)
		return e;
	s = look(fd, &r, MSG_PEEK);
	return s == EXITED ? 0 : s < 0 ? s : -ESRCH;
}

static long native_end(int fd, struct record *r, long options)
{
	if (!marked(fd))
		return wrong(fd);
	long s = look(fd, r, MSG_PEEK);
	if (s == EXITED && !(options & WAIT_LEAVE))
		s = look(fd, r, 0);
	if (s != RUNNING)
		return s == EXITED ? 0 : s < 0 ? s : -ECHILD;
	struct stat st;
	long e = CALL2(SYS_fstat, fd, &st);
	return e < 0 ? e : (long)st.st_ino;
}

long capsicum_pd_end(int fd, struct record *r, long options)
{
	long e = CALL4(REQUEST, REQUEST_PDWAIT, fd, r, options | WAIT_NOT | WAIT_NAME);
	return e == -ENOSYS ? native_end(fd, r, options) : e;
}

long capsicum_pd_alive(int fd)
{
	struct record r;
	long e = CALL2(REQUEST, REQUEST_PDALIVE, fd);
	if (e != -ENOSYS)
		return e;
	e = marked(fd) ? look(fd, &r, MSG_PEEK) : -EBADF;
	return e < 0 ? e : e == RUNNING;
}

PUBLIC int pdgetpid(int fd, pid_t *pidp)
{
	if (!pidp)
		return result(-EFAULT);
	long pid = CALL2(REQUEST, REQUEST_PDGETPID, fd);
	if (pid == -ENOSYS)
		pid = native_pid(fd);
	if (pid > 0)
		*pidp = (pid_t)pid;
	return result(pid < 0 ? pid : 0);
}

PUBLIC int pdkill(int fd, int signum)
{
	if (signum < 0 || signum > 64)
		return result(-EINVAL);
	long r = CALL3(REQUEST, REQUEST_PDKILL, fd, signum);
	return result(r == -ENOSYS ? native_kill(fd, signum) : r);
}
