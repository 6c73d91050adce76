/*
 * capsicum_helpers(3). Each call forgives ENOSYS, the answer of a kernel that cannot
 * confine: a program that must be confined calls cap_enter() itself.
 */
#ifndef _CAPSICUM_HELPERS_H_
#define _CAPSICUM_HELPERS_H_

/* FreeBSD's brings in these, so programs leave them out. */
#include <sys/param.h>
#include <sys/capsicum.h>
#include <sys/ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <nl_types.h>
#include <stddef.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CAPH_IGNORE_EBADF	0x0001
#define CAPH_READ		0x0002
#define CAPH_WRITE		0x0004
#define CAPH_LOOKUP		0x0008

#ifdef __cplusplus
extern "C" {
#endif

void caph_stream_rights(cap_rights_t *rights, int flags);
int caph_limit_stream(int fd, int flags);
int caph_limit_stdin(void);
int caph_limit_stdout(void);
int caph_limit_stderr(void);
int caph_limit_stdio(void);
void caph_cache_tzdata(void);
void caph_cache_catpages(void);
int caph_enter(void);
int caph_rights_limit(int fd, const cap_rights_t *rights);
int caph_ioctls_limit(int fd, const cap_ioctl_t *cmds, size_t ncmds);
int caph_fcntls_limit(int fd, uint32_t fcntlrights);

/*
 * As on FreeBSD: a program that is compiled without casper stays outside. Its function
 * has a name of its own, as the library's is declared.
 */
int caph_enter_casper(void);
#ifndef WITH_CASPER
static __inline__ int caph_enter_casper_without(void)
{
	return 0;
}
#define caph_enter_casper caph_enter_casper_without
#endif

#ifdef __cplusplus
}
#endif

#endif
