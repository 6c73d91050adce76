/*
 * One lock over everything that the library remembers. A fork in one thread copies it
 * while another holds it; nobody would ever unlock the copy. So it is held by a
 * process: a holder that is another process is of another copy of this memory.
 */
#define _GNU_SOURCE
#include <errno.h>
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
