/*
 * Process descriptors: children that are held by a descriptor; see procdesc(4) of
 * FreeBSD, and pdfork(3).
 */
#ifndef _SYS_PROCDESC_H_
#define _SYS_PROCDESC_H_

#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#define PD_DAEMON	0x00000001	/* the last close does not kill */
#define PD_CLOEXEC	0x00000002	/* closed on exec */
#define PD_ALLOWED_AT_FORK	(PD_DAEMON | PD_CLOEXEC)

/* Flags of pdrfork(), which FreeBSD has in unistd.h; pdfork(3) says what may be asked for. */
#ifndef RFPROC
#define RFFDG		(1 << 2)	/* a copy of the descriptors */
#define RFPROC		(1 << 4)	/* a process */
#define RFMEM		(1 << 5)
#define RFNOWAIT	(1 << 6)	/* no wait by its number */
#define RFCFDG		(1 << 12)	/* no descriptors */
#define RFTHREAD	(1 << 13)
#define RFSIGSHARE	(1 << 14)
#define RFLINUXTHPN	(1 << 16)
#define RFTSIGZMB	(1 << 19)
#define RFTSIGSHIFT	20
#define RFTSIGMASK	0xff
#define RFTSIGNUM(flags)	(((flags) >> RFTSIGSHIFT) & RFTSIGMASK)
#define RFTSIGFLAGS(signum)	((signum) << RFTSIGSHIFT)
#define RFPROCDESC	(1 << 28)	/* a process descriptor */
#define RFSPAWN		(1U << 31)
#endif

/* Options of pdwait(): those of waitid(2), and this, which FreeBSD has in sys/wait.h. */
#ifndef WTRAPPED
#define WTRAPPED	0x00000020
#endif

/* What a process used. The kernel adds what the children used that it waited for. */
struct __wrusage {
	struct rusage wru_self;
	struct rusage wru_children;	/* 0 */
};

#ifdef __cplusplus
extern "C" {
#endif

pid_t pdfork(int *fdp, int flags);
pid_t pdrfork(int *fdp, int pdflags, int rfflags);
int pdgetpid(int fd, pid_t *pidp);
int pdkill(int fd, int signum);
#ifdef CLD_EXITED /* a strict C hides it, and siginfo_t, as it hides waitid() */
int pdwait(int fd, int *status, int options, struct __wrusage *wrusage, siginfo_t *info);
#endif
int pdwait4(int fd, int *status, int options, struct rusage *rusage);

#ifdef __cplusplus
}
#endif

#endif
