/*
 * Signals of a process to itself. In capability mode a filter that stands alone refuses
 * them: it would compare a number, and go on in children, where it is the parent's. That
 * a descriptor stands for whoever makes the call it can see, from Linux 6.15 on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/capsicum.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

#define SELF_THREAD (-10000)  /* PIDFD_SELF_THREAD */
#define SELF_PROCESS (-10001) /* PIDFD_SELF_PROCESS */

/* The result of a call, or of the other where that was refused. */
static int or_self(long r, int self, int sig)
{
	if (r == -ECAPMODE) {
		long sent = CALL4(SYS_pidfd_send_signal, self, sig, 0, 0);
		if (sent == 0 || sent == -EINVAL) /* not a signal; others are of kernels without */
			r = sent;
	}
	if (r == 0)
		return 0;
	errno = (int)-r;
	return -1;
}

PUBLIC int kill(pid_t pid, int sig)
{
	long r = CALL2(SYS_kill, pid, sig);
	return or_self(r, pid == CALL0(SYS_getpid) ? SELF_PROCESS : -1, sig);
}

PUBLIC int raise(int sig)
{
	long r = CALL3(SYS_tgkill, CALL0(SYS_getpid), CALL0(SYS_gettid), sig);
	return or_self(r, SELF_THREAD, sig);
}
