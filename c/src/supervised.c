/* What is asked of a supervisor: one system call that no kernel has. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "library.h"

static uint32_t list[MAX_IOCTLS]; /* under the lock */

static long request(long op, long a, long b, long c)
{
	return CALL4(REQUEST, op, a, b, c);
}

/*
 * A process that had a supervisor, and has none any more, is confined: ENOSYS would
 * tell that it is not.
 */
static long ask(long op, long a, long b, long c)
{
	long r = request(op, a, b, c);
	return r == -ENOSYS ? -EIO : r;
}

bool capsicum_supervised(void)
{
	return request(REQUEST_MODE, 0, 0, 0) >= 0;
}

int capsicum_supervised_mode(void)
{
	return (int)ask(REQUEST_MODE, 0, 0, 0);
}

/* Installs the filter that the supervisor has for fd, -1 for capability mode. */
static int stack(int fd)
{
	long n = ask(REQUEST_FILTER, fd, (long)capsicum_room, 0);
	if (n < 0)
		return (int)n;
	if (n == 0 || n > MAX_FILTER)
		return -EIO;
	return (int)capsicum_install(capsicum_room, (int)n);
}

/*
 * The supervisor is told first, so that no name is looked up as before once a filter
 * refuses others.
 */
int capsicum_supervised_enter(void)
{
	long r = ask(REQUEST_MODE, 0, 0, 0);
	if (r != 0)
		return r < 0 ? (int)r : 0;
	r = ask(REQUEST_ENTER, 0, 0, 0);
	if (r < 0)
		return (int)r;
	return stack(-1);
}

/* Narrows fd, and installs a filter if without one what fd has lost would still pass. */
static int limit(long op, int fd, long a, long b)
{
	long r = ask(op, fd, a, b);
	if (r < 0 || !(r & ANSWER_STACK))
		return r < 0 ? (int)r : 0;
	int e = stack(fd);
	if (e < 0)
		return e;
	return (int)ask(REQUEST_STACKED, fd, 0, 0);
}

int capsicum_supervised_limit_rights(int fd, const uint64_t words[2])
{
	return limit(REQUEST_LIMIT_RIGHTS, fd, (long)words[0], (long)words[1]);
}

int capsicum_supervised_rights(int fd, uint64_t words[2])
{
	return (int)ask(REQUEST_RIGHTS, fd, (long)words, 0);
}

int capsicum_supervised_limit_ioctls(int fd, const uint32_t *cmds, int n)
{
	if (n > 0)
		memcpy(list, cmds, (size_t)n * sizeof *cmds);
	return limit(REQUEST_LIMIT_IOCTLS, fd, (long)list, n);
}

int capsicum_supervised_ioctls(int fd, uint32_t cmds[MAX_IOCTLS])
{
	long n = ask(REQUEST_IOCTLS, fd, (long)list, MAX_IOCTLS);
	if (n >= 0 && n <= MAX_IOCTLS)
		memcpy(cmds, list, (size_t)n * sizeof *cmds);
	return n > MAX_IOCTLS ? ALL_IOCTLS : (int)n;
}

int capsicum_supervised_limit_fcntls(int fd, uint32_t mask)
{
	return limit(REQUEST_LIMIT_FCNTLS, fd, (long)mask, 0);
}

int capsicum_supervised_fcntls(int fd, uint32_t *mask)
{
	long r = ask(REQUEST_FCNTLS, fd, 0, 0);
	if (r < 0)
		return (int)r;
	*mask = (uint32_t)r;
	return 0;
}
