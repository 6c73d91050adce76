/* shm_open() for programs that pass SHM_ANON; docs/shared-memory.md says what differs. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/capsicum.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"

#define ANONYMOUS ((const char *)1) /* SHM_ANON */

#define CLOEXEC 1u
#define ALLOW_SEALING 2u
#define NOEXEC_SEAL 8u
#define EXEC 0x10u
#define ADD_SEALS 1033
#define SEAL_SEAL 1

int capsicum_shm_open(const char *path, int flags, mode_t mode);

/*
 * Makes an object that nobody can seal. Without x in its mode it is kept from being a
 * program, where the kernel knows how (6.3).
 */
static long create(mode_t mode)
{
	unsigned kind = mode & 0111 ? EXEC : NOEXEC_SEAL | ALLOW_SEALING;
	long fd = CALL2(SYS_memfd_create, "anon", CLOEXEC | kind);
	if (fd == -EINVAL)
		fd = CALL2(SYS_memfd_create, "anon", CLOEXEC | (kind & ALLOW_SEALING));
	if (fd < 0)
		return fd;
	long r = CALL2(SYS_fchmod, fd, mode);
	if (r == 0 && kind & ALLOW_SEALING)
		r = CALL3(SYS_fcntl, fd, ADD_SEALS, SEAL_SEAL);
	if (r < 0) {
		CALL1(SYS_close, fd);
		return r;
	}
	return fd;
}

PUBLIC int capsicum_shm_open(const char *path, int flags, mode_t mode)
{
	const int known = O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC;
	if (path != ANONYMOUS) {
		if (cap_sandboxed()) {
			errno = ECAPMODE;
			return -1;
		}
		return shm_open(path, flags, mode);
	}
	if ((flags & O_ACCMODE) != O_RDWR || flags & ~known) {
		errno = EINVAL;
		return -1;
	}
	/* For the moment that this takes, files of other threads get less, not more. */
	mode_t mask = umask(077);
	umask(mask);
	long fd = create(mode & 0777 & ~mask);
	if (fd < 0) {
		errno = (int)-fd;
		return -1;
	}
	return (int)fd;
}
