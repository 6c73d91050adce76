/*
 * close() where a supervisor is asked. A signal whose handler does not restart calls may
 * come before he has heard of it; the descriptor then stays open, and no program for
 * Linux closes again, where the number may be another's by then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"

PUBLIC int close(int fd)
{
	/* Not in the middle of the call: nobody could tell whether it was done. */
	pthread_testcancel();
	long r = capsicum_call_whole(SYS_close, fd, 0, 0);
#ifndef __GLIBC__
	if (r == -EINTR) /* as the other C library has it: it is closed */
		r = 0;
#endif
	if (r == 0)
		return 0;
	errno = (int)-r;
	return -1;
}
