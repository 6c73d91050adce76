/*
 * The end of a thread by pthread_exit() or pthread_cancel(). glibc loads a library for
 * it with the first, and aborts once it can't. So it does for a backtrace.
 */
#include <errno.h>

#include "library.h"

/* Weak: other C libraries have none, and load nothing. */
extern int backtrace(void **frames, int n) __attribute__((weak));

void capsicum_keep_unwinding(void)
{
	static bool done;
	int before = errno;
	void *frame;
	if (!backtrace || done)
		return;
	(void)backtrace(&frame, 1);
	done = true;
	errno = before;
}
