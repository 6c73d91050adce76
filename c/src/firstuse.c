/*
 * What glibc does at first use, with a file that a confined process does not get any
 * more: done before. Each keeps errno.
 */
#include <errno.h>
#include <string.h>
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
