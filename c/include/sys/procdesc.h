/*
 * Process descriptors: children that are held by a descriptor; see procdesc(4) of
 * FreeBSD, and pdfork(3).
 */
#ifndef _SYS_PROCDESC_H_
#define _SYS_PROCDESC_H_

#include <sys/types.h>

struct rusage;

#define PD_DAEMON	0x00000001	/* the last close does not kill */
#define PD_CLOEXEC	0x00000002	/* closed on exec */
#define PD_ALLOWED_AT_FORK	(PD_DAEMON | PD_CLOEXEC)

#ifdef __cplusplus
extern "C" {
#endif

pid_t pdfork(int *fdp, int flags);
int pdgetpid(int fd, pid_t *pidp);
int pdkill(int fd, int signum);
int pdwait4(int fd, int *status, int options, struct rusage *rusage);

#ifdef __cplusplus
}
#endif

#endif
