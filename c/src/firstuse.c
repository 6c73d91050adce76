/*
 * What glibc does at first use, with a file or a question that a confined process has
 * no more: done before. Each keeps errno.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "library.h"

/* Weak: other C libraries have none, and load nothing. */
extern int backtrace(void **frames, int n) __attribute__((weak));

/*
 * The end of a thread by pthread_exit() or pthread_cancel(). glibc loads a library for
 * it with the first, and aborts once it can't. So it does for a backtrace.
 */
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

/*
 * The characters of the locale. For most charsets other than UTF-8 glibc loads a
 * library, not with setlocale() but with the first character.
 */
void capsicum_keep_charset(void)
{
	int before = errno;
	mbstate_t state;
	wchar_t c;
	memset(&state, 0, sizeof state);
	(void)mbrtowc(&c, "a", 1, &state);
	errno = before;
}

/*
 * That lines go to a terminal as they are written. glibc asks, with the first byte, what
 * stdout is, by an empty name, which the form without a supervisor refuses. A stream that
 * is locked is in use, so that it has been asked already, or is a copy of one that was in
 * use when this process was made: nobody waits for it.
 */
void capsicum_keep_lines(void)
{
	int before = errno;
	if (ftrylockfile(stdout) == 0) {
		if (__fbufsize(stdout) == 0 && isatty(fileno(stdout)))
			(void)setvbuf(stdout, NULL, _IOLBF, 0);
		funlockfile(stdout);
	}
	errno = before;
}
