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
#include "procdesc.h"

/* The structure is the kernel's on these architectures. */
#if !defined __x86_64__ && !defined __aarch64__
#error "no fstat for this architecture"
#endif

/*
 * What FreeBSD says of a process descriptor: a file with the owner's permissions as long
 * as the process lives, from when it started. Here it is a socket of that mode.
 */
static void procdesc(int fd, struct stat *st)
{
	if (st->st_mode != (S_IFSOCK | 0700))
		return;
	long alive = capsicum_pd_alive(fd);
	if (alive < 0)
		return;
	struct stat is = {.st_mode = S_IFREG | (alive ? 0700 : 0), .st_uid = st->st_uid, .st_gid = st->st_gid,
		.st_atim = st->st_mtim, .st_mtim = st->st_mtim, .st_ctim = st->st_mtim};
	*st = is;
}

static int kernel_fstat(int fd, struct stat *st)
{
	long r;
	do /* a signal that interrupts the question is nothing that callers expect */
		r = CALL2(SYS_fstat, fd, st);
	while (r == -EINTR);
	if (r < 0) {
		errno = (int)-r;
		return -1;
	}
	procdesc(fd, st);
	return 0;
}

PUBLIC int fstat(int fd, struct stat *st)
{
	return kernel_fstat(fd, st);
}

#ifdef __GLIBC__
PUBLIC int fstat64(int fd, struct stat64 *st)
{
	return kernel_fstat(fd, (struct stat *)st);
}
#endif
