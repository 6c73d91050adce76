/*
 * One lock over everything that the library remembers, and does.
 *
 * fork() waits for it: between the installation of the first filter and the end of the
 * call this process has a descriptor of it, with which a child could answer in its
 * supervisor's stead.
 *
 * What makes processes in another way (_Fork, clone) copies the lock maybe while another
 * thread holds it; nobody would ever unlock the copy. So it is held by a process: a
 * holder that is another process is of another copy of this memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"

static _Atomic uint32_t owner;

static uint64_t bit(int signal)
{
	return 1ULL << (signal - 1);
}

/*
 * Takes the lock. No signal but faults comes in between: a handler might make calls of
 * this library, or leave it by a jump. Returns whether what is remembered may be half
 * written, because it is a copy.
 */
bool capsicum_lock(struct capsicum_signals *before)
{
	uint64_t all = ~(bit(SIGSEGV) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGSYS));
	CALL4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before->mask, 8);
	uint32_t self = (uint32_t)CALL0(SYS_getpid);
	for (;;) {
		uint32_t holder = 0;
		if (atomic_compare_exchange_strong(&owner, &holder, self))
			return false;
		if (holder == self)
			capsicum_futex_wait((uint32_t *)&owner, holder, 10);
		else if (atomic_compare_exchange_strong(&owner, &holder, self))
			return true;
	}
}

void capsicum_unlock(const struct capsicum_signals *before)
{
	atomic_store(&owner, 0);
	capsicum_futex_wake((uint32_t *)&owner);
	CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &before->mask, 0, 8);
}

static struct capsicum_signals forking; /* of the thread that forks, which has the lock */
static bool torn;

static void before_fork(void)
{
	struct capsicum_signals s;
	torn = capsicum_lock(&s);
	forking = s;
}

static void after_fork(void)
{
	struct capsicum_signals s = forking;
	if (torn)
		capsicum_forget();
	capsicum_unlock(&s);
}

/* Early: a fork that has begun before does not wait. */
__attribute__((constructor)) static void watch_forks(void)
{
	/* Without memory there is nobody who forks. */
	(void)pthread_atfork(before_fork, after_fork, after_fork);
}
