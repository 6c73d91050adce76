/*
 * A filter can't tell what name an execveat has. Where the kernel keeps this process from
 * executing anything by a name, a supervisor can let it execute what it holds open; one in
 * a memfd has no name.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

#define ACCESS_FS_EXECUTE 1

/*
 * Whether this process has one thread: the kernel's word, for the C library does not know
 * of all. To unshare a thread changes nothing where there is one, and is an error where
 * there are more. Containers may forbid it; a directory of one process has links to and
 * from itself and one to each thread.
 */
static bool single_threaded(void)
{
	struct stat tasks;
	long r = CALL1(SYS_unshare, CLONE_THREAD);
	if (r == 0 || r == -EINVAL)
		return r == 0;
	return CALL4(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &tasks, 0) == 0 && tasks.st_nlink == 3;
}

/*
 * Gives up executing by name, for good and for all children. Each thread can do so for
 * itself only, so that it is not tried with several. It needs no_new_privs.
 */
bool capsicum_execute_no_names(void)
{
	uint64_t handled = ACCESS_FS_EXECUTE;
	if (!single_threaded())
		return false;
	long fd = CALL3(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
	if (fd < 0)
		return false;
	long r = CALL2(SYS_landlock_restrict_self, fd, 0);
	CALL1(SYS_close, fd);
	return r == 0;
}
