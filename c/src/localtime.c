/*
 * Local time. Without TZ glibc looks at /etc/localtime each time, and falls back to
 * UTC without a word once it can't. With TZ it reads the file that is named there,
 * once.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "library.h"

#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 32)
#include <sys/single_threaded.h>
#define SINGLE_THREADED __libc_single_threaded
#endif
#endif
#ifndef SINGLE_THREADED
#define SINGLE_THREADED 0
#endif

void capsicum_keep_local_time(void)
{
	int before = errno;
	if (!getenv("TZ"))
		setenv("TZ", ":/etc/localtime", 0);
	tzset();
	errno = before;
}

/*
 * The same unasked, where nobody else can be reading the environment, nor have left a
 * lock held in the process that this one is a copy of.
 */
void capsicum_keep_local_time_if_alone(void)
{
	if (SINGLE_THREADED)
		capsicum_keep_local_time();
}
