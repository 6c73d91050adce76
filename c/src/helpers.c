/* capsicum_helpers(3). */
#define _GNU_SOURCE
#include <capsicum_helpers.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "library.h"

#undef caph_enter_casper

/* A kernel that can't confine is forgiven. */
static int forgive(int r)
{
	return r < 0 && errno == ENOSYS ? 0 : r;
}

PUBLIC int caph_enter(void)
{
	return forgive(cap_enter());
}

PUBLIC int caph_enter_casper(void)
{
	return caph_enter();
}

PUBLIC int caph_rights_limit(int fd, const cap_rights_t *rights)
{
	return forgive(cap_rights_limit(fd, rights));
}

PUBLIC int caph_ioctls_limit(int fd, const cap_ioctl_t *cmds, size_t ncmds)
{
	return forgive(cap_ioctls_limit(fd, cmds, ncmds));
}

PUBLIC int caph_fcntls_limit(int fd, uint32_t fcntlrights)
{
	return forgive(cap_fcntls_limit(fd, fcntlrights));
}

PUBLIC void caph_stream_rights(cap_rights_t *rights, int flags)
{
	cap_rights_init(rights, CAP_EVENT, CAP_FCNTL, CAP_FSTAT, CAP_IOCTL, CAP_SEEK);
	if (flags & CAPH_READ)
		cap_rights_set(rights, CAP_READ);
	if (flags & CAPH_WRITE)
		cap_rights_set(rights, CAP_WRITE);
	if (flags & CAPH_LOOKUP)
		cap_rights_set(rights, CAP_LOOKUP);
}

PUBLIC int caph_limit_stream(int fd, int flags)
{
	/* What isatty() and stdio ask of a terminal. */
	static const cap_ioctl_t cmds[] = {TCGETS, TIOCGWINSZ};
	cap_rights_t rights;
	int before = errno;
	caph_stream_rights(&rights, flags);
	if (caph_rights_limit(fd, &rights) < 0) {
		if (errno == EBADF && flags & CAPH_IGNORE_EBADF) {
			errno = before;
			return 0;
		}
		return -1;
	}
	if (caph_ioctls_limit(fd, cmds, sizeof cmds / sizeof cmds[0]) < 0)
		return -1;
	return caph_fcntls_limit(fd, CAP_FCNTL_GETFL);
}

PUBLIC int caph_limit_stdin(void)
{
	return caph_limit_stream(STDIN_FILENO, CAPH_READ);
}

PUBLIC int caph_limit_stdout(void)
{
	return caph_limit_stream(STDOUT_FILENO, CAPH_WRITE);
}

PUBLIC int caph_limit_stderr(void)
{
	return caph_limit_stream(STDERR_FILENO, CAPH_WRITE);
}

PUBLIC int caph_limit_stdio(void)
{
	const int ignore = CAPH_IGNORE_EBADF;
	if (caph_limit_stream(STDIN_FILENO, ignore | CAPH_READ) < 0 ||
	    caph_limit_stream(STDOUT_FILENO, ignore | CAPH_WRITE) < 0 ||
	    caph_limit_stream(STDERR_FILENO, ignore | CAPH_WRITE) < 0)
		return -1;
	return 0;
}

PUBLIC void caph_cache_tzdata(void)
{
	capsicum_keep_local_time();
}

/* The messages of errors are looked up, and kept, with the first. */
PUBLIC void caph_cache_catpages(void)
{
	int before = errno;
	const char *loaded = strerror(ENOENT);
	(void)loaded;
	errno = before;
}
