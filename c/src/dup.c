/*
 * dup(), dup2() and dup3() where a supervisor is asked: they do not wait, so that few
 * programs expect that a signal interrupts them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"

static int answer(long r)
{
	if (r >= 0)
		return (int)r;
	errno = (int)-r;
	return -1;
}

PUBLIC int dup(int fd)
{
	return answer(capsicum_call_whole(SYS_dup, fd, 0, 0));
}

PUBLIC int dup2(int from, int to)
{
#ifdef SYS_dup2
	return answer(capsicum_call_whole(SYS_dup2, from, to, 0));
#else
	if (from != to)
		return answer(capsicum_call_whole(SYS_dup3, from, to, 0));
	long r = CALL2(SYS_fcntl, from, F_GETFD);
	return answer(r < 0 ? r : to);
#endif
}

PUBLIC int dup3(int from, int to, int flags)
{
	return answer(capsicum_call_whole(SYS_dup3, from, to, flags));
}
