/* What is asked of a supervisor: one system call that no kernel has. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/capsicum.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "library.h"

#ifndef PR_SET_PTRACER
#define PR_SET_PTRACER 0x59616d61
#endif

static uint32_t list[MAX_IOCTLS]; /* under the lock */

static long request(long op, long a, long b, long c, long d)
{
	return CALL5(REQUEST, op, a, b, c, d);
}

/*
 * A process that had a supervisor, and has none any more, is confined: ENOSYS would
 * tell that it is not.
 */
static long ask(long op, long a, long b, long c)
{
	long r = request(op, a, b, c, 0);
	return r == -ENOSYS ? -EIO : r;
}

/*
 * Makes a request that is answered with a filter, and installs that; 1 if there was
 * one.
 */
static int narrow(long op, long a, long b, long c, long d)
{
	long n = request(op, a, b, c, d);
	if (n <= 0)
		return n == -ENOSYS ? -EIO : (int)n;
	if (n > MAX_FILTER)
		return -EIO;
	int e = (int)capsicum_install(capsicum_room, (int)n);
	return e < 0 ? e : 1;
}

bool capsicum_supervised(void)
{
	return request(REQUEST_SUPERVISOR, 0, 0, 0, 0) >= 0;
}

/* Whether calls are asked about: 1 or -1; 0 before that was looked at. Without the lock. */
static _Atomic int asked;

int capsicum_set_asked(int now)
{
	return atomic_exchange(&asked, now);
}

/* A program that was executed may have had a supervisor from its start. */
static void look_who_is_asked(void)
{
	int unknown = 0;
	if (atomic_load(&asked) == 0)
		atomic_compare_exchange_strong(&asked, &unknown, capsicum_supervised() ? 1 : -1);
}

long capsicum_call_whole(long nr, long a, long b, long c)
{
	uint64_t all = NOT_FAULTS, before;
	if (atomic_load(&asked) < 0)
		return CALL3(nr, a, b, c);
	CALL4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof before);
	look_who_is_asked();
	long r = CALL3(nr, a, b, c);
	CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before);
	return r;
}

static bool yama; /* names are heard */

/*
 * Names the supervisor, or with 0 nobody, to Yama, which at scope 1 lets only ancestors
 * look into a process, and whom that one names; without Yama there is no such option.
 */
int capsicum_name(long pid)
{
	long r = CALL2(SYS_prctl, PR_SET_PTRACER, pid);
	if (r == 0)
		yama = true;
	return r == -EINVAL ? 0 : (int)r;
}

/* Whether this process has a supervisor already, maybe its parent's. That one says which it is. */
bool capsicum_join(void)
{
	long pid = request(REQUEST_SUPERVISOR, 0, 0, 0, 0);
	if (pid > 0)
		(void)capsicum_name(pid); /* what can't be read is refused */
	return pid >= 0;
}

void capsicum_join_as_child(void)
{
	if (yama)
		(void)capsicum_join();
}

/*
 * The filter answers for itself, whether there still is a supervisor or not. That one
 * believes in the mode also where the filter could not be installed, maybe by the program
 * that executed this one; such a request he does not know.
 */
int capsicum_supervised_mode(void)
{
	long r = ask(OP_MODE, 0, 0, 0);
	if (r == -ECAPMODE)
		return 1;
	return r < 0 && r != -EINVAL ? (int)r : 0;
}

/*
 * The supervisor is told first, so that no name is looked up as before once a filter
 * refuses others.
 */
int capsicum_supervised_enter(void)
{
	int r = capsicum_supervised_mode();
	if (r == 0)
		r = narrow(REQUEST_ENTER, capsicum_execute_no_names(), (long)capsicum_room, 0, 0);
	return r < 0 ? r : 0;
}

/* Narrows fd, and installs a filter if without one what fd has lost would still pass. */
static int limit(long op, int fd, long a, long b)
{
	int r = narrow(op, fd, a, b, (long)capsicum_room);
	return r == 1 ? (int)ask(REQUEST_STACKED, fd, 0, 0) : r;
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
