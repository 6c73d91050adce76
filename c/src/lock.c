/*
 * One lock over everything that the library remembers, and does.
 *
 * fork() waits for it: between the installation of the first filter and the end of the
 * call this process has a descriptor of it, with which a child could answer in its
 * supervisor's stead.
 *
 * What makes processes in another way copies memory (_Fork, clone) or shares it (vfork).
 * A copy of a lock that another thread held would never be given back; one that is
 * shared must be waited for. So the lock is in memory that a copy finds empty.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"

#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 32)
#include <sys/single_threaded.h>
#define SINGLE_THREADED __libc_single_threaded
#endif
#endif
#ifndef SINGLE_THREADED
#define SINGLE_THREADED 0
#endif

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

struct place {
	_Atomic uint32_t holder; /* the process that holds the lock, or 0 */
	uint32_t owner;		 /* see capsicum_owner() */
};

static struct place copied; /* for want of better */
static struct place *_Atomic place;

/* Written by the holder: whether a call is under way, maybe in what this is a copy of. */
static bool busy;

static struct place *find(void)
{
	struct place *p = atomic_load(&place), *none = NULL;
	if (p)
		return p;
	long new = capsicum_call(SYS_mmap, 0, sizeof *p, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p = new < 0 ? &copied : (struct place *)new;
	if (new >= 0 && CALL3(SYS_madvise, new, sizeof *p, MADV_WIPEONFORK) < 0) {
		CALL2(SYS_munmap, new, sizeof *p);
		p = &copied;
	}
	if (atomic_compare_exchange_strong(&place, &none, p))
		return p;
	if (p != &copied)
		CALL2(SYS_munmap, new, sizeof *p);
	return none;
}

uint32_t *capsicum_owner(void)
{
	return &find()->owner;
}

/* Whether a holder that is another process will give the lock back. */
static bool will_return(const struct place *p, uint32_t holder)
{
	return p != &copied && capsicum_alive((long)holder);
}

/*
 * Takes the lock. No signal but faults comes in between: a handler might make calls of
 * this library, or leave it by a jump. Returns whether what is remembered may be half
 * written, because its writer is gone.
 */
bool capsicum_lock(struct capsicum_signals *before)
{
	uint64_t all = NOT_FAULTS;
	CALL4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before->mask, 8);
	struct place *p = find();
	uint32_t self = (uint32_t)CALL0(SYS_getpid), holder = 0;
	while (!atomic_compare_exchange_strong(&p->holder, &holder, self)) {
		if (holder == self || will_return(p, holder)) {
			capsicum_futex_wait((uint32_t *)&p->holder, holder, 10);
			holder = 0;
		}
	}
	bool torn = busy;
	busy = true;
	return torn;
}

void capsicum_unlock(const struct capsicum_signals *before)
{
	struct place *p = find();
	busy = false;
	atomic_store(&p->holder, 0);
	capsicum_futex_wake((uint32_t *)&p->holder);
	CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &before->mask, 0, 8);
}

static uint32_t sound;

bool capsicum_sound(void)
{
	uint32_t self = (uint32_t)CALL0(SYS_getpid), owner = *capsicum_owner();
	return sound == self || (SINGLE_THREADED && (owner == 0 || owner == self));
}

static struct capsicum_signals forking; /* of the thread that forks, which has the lock */

static void before_fork(void)
{
	struct capsicum_signals s;
	capsicum_start(&s);
	forking = s;
}

static void after_fork(void)
{
	struct capsicum_signals s = forking;
	capsicum_finish(&s);
}

static void in_child(void)
{
	if (SINGLE_THREADED)
		sound = (uint32_t)CALL0(SYS_getpid);
	capsicum_born();
	after_fork();
}

/* Early: a fork that has begun before does not wait. */
__attribute__((constructor)) static void watch_forks(void)
{
	sound = *capsicum_owner() = (uint32_t)CALL0(SYS_getpid);
	/* Without memory there is nobody who forks. */
	(void)pthread_atfork(before_fork, after_fork, in_child);
}
