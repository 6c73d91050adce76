/*
 * Local time. Without TZ glibc looks at /etc/localtime each time, and falls back to
 * UTC without a word once it can't. With TZ it reads the file that is named there,
 * once.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "library.h"

static char zone[] = "TZ=:/etc/localtime";

/*
 * What setenv() does, but that it frees the list that other threads may be reading. One
 * that another thread puts in its place meanwhile is begun with again.
 */
static void name_zone(void)
{
	char **old, **list = NULL;
	do {
		size_t n = 0;
		old = __atomic_load_n(&environ, __ATOMIC_ACQUIRE);
		while (old && old[n])
			n++;
		char **more = realloc(list, (n + 2) * sizeof *list);
		if (!more) {
			free(list);
			return;
		}
		list = more;
		if (n > 0)
			memcpy(list, old, n * sizeof *list);
		list[n] = zone;
		list[n + 1] = NULL;
	} while (!__atomic_compare_exchange_n(&environ, &old, list, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
}

void capsicum_keep_local_time(void)
{
	int before = errno;
	if (!getenv("TZ"))
		name_zone();
	tzset();
	errno = before;
}
