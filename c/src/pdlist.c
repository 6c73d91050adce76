/*
 * What this process remembers of its children's helpers: what they run in, until they end,
 * and which descriptor a child has, as long as it may be waited for by its number.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/procdesc.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library.h"
#include "procdesc.h"

#define FEW 16 /* ended helpers, which cost a page each */

/* All under the lock. */
static struct kept *list;     /* the youngest first */
static pid_t owner;	      /* whose they are */
static unsigned ended;	      /* how many of them have ended */
static unsigned enough = FEW; /* of these, before it is looked who is still wanted */

void capsicum_pd_forget(void)
{
	list = NULL;
	ended = 0;
	enough = FEW;
}

/* Waits for a helper that has ended, and unmaps what it alone used. */
static void collect(struct kept *k)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), needed = (sizeof *k + page - 1) / page * page;
	CALL4(SYS_wait4, k->pid, 0, __WALL, 0);
	k->pid = 0;
	if (needed < k->size) {
		CALL2(SYS_munmap, (char *)k + needed, k->size - needed);
		k->size = needed;
	}
}

/*
 * Whether a child that has ended may still be waited for: its descriptor is open, and its
 * record there. Of a descriptor that may not be looked at nothing is known: until another
 * child has its number it stays.
 */
static bool wanted(const struct kept *k)
{
	struct stat st;
	char byte;
	long r = CALL2(SYS_fstat, k->fd, &st);
	if (r == -EBADF || (r == 0 && st.st_ino != k->inode))
		return false;
	return capsicum_call(SYS_recvfrom, k->fd, (long)&byte, 1, MSG_PEEK | MSG_DONTWAIT, 0, 0) != 0;
}

/*
 * Every helper that has ended is waited for at once. Whether its child is still wanted
 * takes system calls, which for each child at each call would be too many: it is asked
 * when there are twice as many as were wanted the last time.
 */
void capsicum_pd_sweep(void)
{
	struct capsicum_signals s;
	(void)capsicum_lock(&s);
	long self = CALL0(SYS_getpid);
	if (owner != self)
		capsicum_pd_forget(); /* a copy of another's */
	owner = (pid_t)self;
	bool look = ended > enough;
	ended = 0;
	for (struct kept **p = &list, *k; (k = *p);) {
		bool lives = atomic_load(&k->watch.lives) != 0 || k->watchers != 0;
		if (!lives && k->pid != 0)
			collect(k);
		if (!lives && (k->fd < 0 || (look && !wanted(k)))) {
			*p = k->next;
			CALL2(SYS_munmap, k, k->size);
			continue;
		}
		ended += !lives;
		p = &k->next;
	}
	if (look)
		enough = FEW + 2 * ended;
	capsicum_unlock(&s);
}

void capsicum_pd_keep(struct kept *k)
{
	struct capsicum_signals s;
	if (k->pid == 0) {
		/* None was made: no end of it would free this, and a wait for 0 would take any child. */
		CALL2(SYS_munmap, k, k->size);
		return;
	}
	(void)capsicum_lock(&s);
	for (struct kept *other = list; other; other = other->next)
		if (other->fd == k->fd)
			other->fd = -1; /* it was closed */
	k->next = list;
	list = k;
	capsicum_unlock(&s);
}

int capsicum_pd_of(pid_t pid)
{
	struct capsicum_signals s;
	int fd = -1;
	(void)capsicum_lock(&s);
	if (owner == CALL0(SYS_getpid)) {
		struct kept *k = list;
		while (k && k->child != pid) /* the youngest: a number is free before its descriptor is closed */
			k = k->next;
		if (k)
			fd = k->fd;
	}
	capsicum_unlock(&s);
	pid_t now;
	int before = errno;
	if (fd >= 0 && (pdgetpid(fd, &now) < 0 || now != pid))
		fd = -1;
	errno = before;
	return fd;
}

struct watch *capsicum_pd_watch(uint64_t inode)
{
	struct capsicum_signals s;
	struct watch *w = NULL;
	(void)capsicum_lock(&s);
	if (owner == CALL0(SYS_getpid))
		for (struct kept *k = list; k && !w; k = k->next)
			if (k->inode == inode) {
				k->watchers++;
				w = &k->watch;
			}
	capsicum_unlock(&s);
	return w;
}

void capsicum_pd_unwatch(struct watch *w)
{
	struct capsicum_signals s;
	(void)capsicum_lock(&s);
	((struct kept *)((char *)w - offsetof(struct kept, watch)))->watchers--;
	/* The kernel wakes one when the helper ends. */
	if (atomic_load(&w->lives) == 0)
		capsicum_futex_wake((uint32_t *)&w->lives);
	capsicum_unlock(&s);
}
