/*
 * glibc's fstat() looks up an empty name from the descriptor. That the name is empty is
 * in memory, so that no filter sees that nothing is looked up. The kernel's own fstat
 * is about a descriptor and nothing else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"

/* The structure is the kernel's on these architectures. */
#if !defined __x86_64__ && !defined __aarch64__
#error "no fstat for this architecture"
#endif

static int kernel_fstat(int fd, void *st)
{
	long r = CALL2(SYS_fstat, fd, st);
	if (r < 0) {
		errno = (int)-r;
		return -1;
	}
	return 0;
}

PUBLIC int fstat(int fd, struct stat *st)
{
	return kernel_fstat(fd, st);
}

#ifdef __GLIBC__
PUBLIC int fstat64(int fd, struct stat64 *st)
{
	return kernel_fstat(fd, st);
}
#endif
