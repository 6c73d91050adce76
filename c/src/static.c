/*
 * Capsicum by filters alone, for a process that can have no supervisor: package
 * static. It needs no descriptor, no process and no file. The filters are the record;
 * what is remembered here saves asking them, and knows the lists of ioctl commands,
 * which they can't tell.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/capsicum.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "static.h"

/* What a descriptor may be used for. */
struct held {
	struct caps caps;
	bool untold;	/* there is a list of ioctl commands, and nobody knows it */
	bool read_only; /* no filter takes the open file for writable */
};

struct known {
	struct known *next;
	int fd;
	struct held held;
};

static struct known *known, *unused, *lent;

static const struct held unlimited = {{{CAP_ALL0, CAP_ALL1}, CAP_FCNTL_ALL, false, 0, {0}}, false, true};

/* Whether a filter answers a question. */
static bool answered(long op, long a, long b)
{
	return CALL3(REQUEST, op, a, b) == -ENOTCAPABLE;
}

static bool in_mode(void)
{
	return CALL1(REQUEST, OP_MODE) == -ECAPMODE;
}

/* Whether this process is limited by filters already, maybe by a program that executed this one. */
bool capsicum_static_begun(void)
{
	return answered(OP_STATIC, 0, 0) || in_mode();
}

/* What is remembered may be half written. */
void capsicum_static_forget(void)
{
	known = unused = lent = NULL;
}

/* For one call of a process that shares the memory: it knows nothing of its own filters. */
void capsicum_static_lend(void)
{
	lent = known;
	known = NULL;
}

void capsicum_static_take_back(void)
{
	while (known) {
		struct known *k = known;
		known = k->next;
		k->next = unused;
		unused = k;
	}
	known = lent;
	lent = NULL;
}

static struct known *find(int fd)
{
	for (struct known *k = known; k; k = k->next)
		if (k->fd == fd)
			return k;
	return NULL;
}

/* Room for one more; not from malloc, which may be what was interrupted by a fork. */
static struct known *new_known(int fd)
{
	const size_t size = 64 * 1024;
	if (!unused) {
		struct known *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (block == MAP_FAILED)
			return NULL;
		for (size_t i = 0; i < size / sizeof *block; i++) {
			block[i].next = unused;
			unused = &block[i];
		}
	}
	struct known *k = unused;
	k->fd = fd;
	k->held = unlimited;
	return k;
}

/* Puts what new_known() returned among the known. */
static void remember(struct known *k)
{
	unused = k->next;
	k->next = known;
	known = k;
}

/* EBADF for a number that is no descriptor. Asking for its flags needs no right. */
static int opened(int fd)
{
	if (fd < 0)
		return -EBADF;
	long r = CALL2(SYS_fcntl, fd, F_GETFD);
	return r < 0 ? (int)r : 0;
}

/*
 * Whether the kernel makes a shared mapping writable, which it does if the file is open
 * for that. A filter that refuses to map it takes it for writable, or permits no mapping.
 */
static bool maps_read_only(int fd)
{
	const long size = 4096;
	long at = capsicum_call(SYS_mmap, 0, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (at < 0)
		return false;
	long r = CALL3(SYS_mprotect, at, size, PROT_WRITE);
	CALL2(SYS_munmap, at, size);
	return r == -EACCES;
}

/*
 * Whether the open file surely is not open for writing. It may be another than at the
 * last limit of its number, whose filter may refuse to tell.
 */
static bool read_only(int fd)
{
	long flags = CALL2(SYS_fcntl, fd, F_GETFL);
	if (flags == -ENOTCAPABLE)
		return maps_read_only(fd);
	return flags >= 0 && (flags & (O_ACCMODE | O_PATH)) == O_RDONLY;
}

/* Asks the filters about fd. */
static void ask(int fd, struct held *h)
{
	*h = unlimited;
	h->read_only = !answered(OP_HAS, fd, INDEX_READ_ONLY);
	for (int word = 0; word < 2; word++)
		for (int bit = 0; bit < RIGHT_BITS; bit++)
			if (unlimited.caps.rights[word] & 1ULL << bit &&
			    answered(OP_HAS, fd, word * RIGHT_BITS + bit))
				h->caps.rights[word] &= ~(1ULL << bit);
	for (int cmd = 0; cmd < 32; cmd++)
		if (CAP_FCNTL_ALL & 1U << cmd && answered(OP_HAS_FCNTL, fd, cmd))
			h->caps.fcntls &= ~(1U << cmd);
	h->caps.listed = answered(OP_HAS, fd, INDEX_ANY_IOCTL);
	h->untold = h->caps.listed && !answered(OP_HAS, fd, INDEX_NO_IOCTL);
}

static void look_up(int fd, struct held *h)
{
	struct known *k = find(fd);
	if (k)
		*h = k->held;
	else if (answered(OP_STATIC, 0, 0))
		ask(fd, h);
	else
		*h = unlimited;
}

static struct held now, had; /* under the lock; too large for small stacks */

static int look(int fd)
{
	int r = opened(fd);
	if (r == 0)
		look_up(fd, &now);
	return r;
}

static bool same_caps(const struct caps *a, const struct caps *b)
{
	return a->rights[0] == b->rights[0] && a->rights[1] == b->rights[1] && a->fcntls == b->fcntls &&
	    a->listed == b->listed &&
	    (!a->listed || (a->nioctls == b->nioctls &&
	    memcmp(a->ioctls, b->ioctls, (size_t)a->nioctls * sizeof a->ioctls[0]) == 0));
}

/* Whether all bits of a right are left, one of the first word. */
static bool left(uint64_t right)
{
	right &= ~CAP_NONE0;
	return (now.caps.rights[0] & right) == right;
}

/*
 * Puts anonymous memory, which fd has open for writing, there again for reading only,
 * if all that is left is mapping it for that: of what file a mapping is that mprotect
 * makes writable, no filter can tell. In capability mode there is no name to open it
 * by, and a mapping then takes the right to write, too.
 */
static void only_read(int fd)
{
	char path[] = "/proc/self/fd/0000000000";
	struct stat st, again;
	if (left(CAP_WRITE) || left(CAP_MMAP_W) || left(CAP_FTRUNCATE) || left(CAP_FLOCK) || !left(CAP_MMAP_R))
		return;
	long flags = CALL2(SYS_fcntl, fd, F_GETFL), close_on_exec = CALL2(SYS_fcntl, fd, F_GETFD);
	if (flags < 0 || close_on_exec < 0 || (flags & O_ACCMODE) != O_RDWR || CALL2(SYS_fstat, fd, &st) < 0 ||
	    CALL2(SYS_fcntl, fd, F_GET_SEALS) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 0)
		return;
	char *digit = path + sizeof path - 1, *end = path + sizeof "/proc/self/fd/" - 1;
	int n = fd;
	do
		*--digit = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	memmove(end, digit, strlen(digit) + 1);
	long copy = CALL4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | (flags & O_APPEND), 0);
	if (copy < 0)
		return;
	long at = CALL3(SYS_lseek, fd, 0, SEEK_CUR);
	if (CALL2(SYS_fstat, copy, &again) == 0 && again.st_dev == st.st_dev && again.st_ino == st.st_ino && at >= 0 &&
	    CALL3(SYS_lseek, copy, at, SEEK_SET) == at)
		CALL3(SYS_dup3, copy, fd, close_on_exec & FD_CLOEXEC ? O_CLOEXEC : 0);
	CALL1(SYS_close, copy);
}

/*
 * Installs the filter in capsicum_room. Once there is one the process comes to no ring
 * any more; before the first it is looked whether there is one.
 */
static int install(int n)
{
	int r = capsicum_static_begun() ? 0 : capsicum_filters_see();
	return r < 0 ? r : (int)capsicum_install(capsicum_room, n);
}

/* Puts a filter in force for what now says of fd, where had is what it was. */
static int enforce(int fd)
{
	/* What a process descriptor has no use for, the socket that it is has. */
	if (!same_caps(&now.caps, &unlimited.caps) && capsicum_is_procdesc(fd))
		now.caps.rights[0] &= ~((CAP_READ | CAP_WRITE | CAP_GETSOCKOPT | CAP_SETSOCKOPT | CAP_SHUTDOWN | CAP_CONNECT) & ~CAP_NONE0);
	only_read(fd);
	now.read_only = read_only(fd);
	bool told = had.untold && !now.untold;
	bool full = same_caps(&now.caps, &unlimited.caps);
	if (same_caps(&now.caps, &had.caps) && !told && (full || now.read_only || !had.read_only))
		return 0;
	if (told) { /* the list may be any, so that none of it is left out */
		had.caps.nioctls = 0;
		had.caps.listed = false;
	}
	struct known *k = find(fd), *fresh = NULL;
	if (!k && !(k = fresh = new_known(fd)))
		return -ENOMEM;
	struct options o = {
		in_mode(), now.read_only, !answered(OP_STATIC, 0, 0), !answered(OP_POLL, 0, 0),
		same_caps(&had.caps, &unlimited.caps) ? NULL : &had.caps, had.read_only,
	};
	int n = capsicum_compile(fd, &now.caps, &o);
	if (n < 0)
		return n;
	if ((n = install(n)) < 0)
		return n;
	now.read_only = now.read_only && had.read_only;
	if (fresh)
		remember(fresh);
	k->held = now;
	return 0;
}

static int begin_limit(int fd)
{
	int r = look(fd);
	if (r == 0)
		had = now;
	return r;
}

int capsicum_static_limit_rights(int fd, const uint64_t words[2])
{
	int r = begin_limit(fd);
	if (r < 0)
		return r;
	if (words[0] & ~had.caps.rights[0] || words[1] & ~had.caps.rights[1])
		return -ENOTCAPABLE;
	memcpy(now.caps.rights, words, sizeof now.caps.rights);
	if (!(words[1] & CAP_IOCTL & ~CAP_NONE1)) {
		now.caps.listed = true;
		now.caps.nioctls = 0;
		now.untold = false;
	}
	if (!(words[0] & CAP_FCNTL & ~CAP_NONE0))
		now.caps.fcntls = 0;
	return enforce(fd);
}

int capsicum_static_limit_ioctls(int fd, const uint32_t *cmds, int n)
{
	int r = begin_limit(fd);
	if (r < 0)
		return r;
	if (had.caps.listed && !had.untold && n > had.caps.nioctls)
		return -ENOTCAPABLE;
	for (int i = 0; i < n; i++) {
		bool found = !had.caps.listed;
		if (had.untold)
			found = !answered(OP_HAS_IOCTL, fd, cmds[i]);
		for (int j = 0; j < had.caps.nioctls && !found; j++)
			found = cmds[i] == had.caps.ioctls[j];
		if (!found)
			return -ENOTCAPABLE;
	}
	now.untold = false;
	now.caps.listed = true;
	now.caps.nioctls = n;
	if (n > 0)
		memcpy(now.caps.ioctls, cmds, (size_t)n * sizeof *cmds);
	return enforce(fd);
}

int capsicum_static_limit_fcntls(int fd, uint32_t mask)
{
	int r = begin_limit(fd);
	if (r < 0)
		return r;
	if (mask & ~had.caps.fcntls)
		return -ENOTCAPABLE;
	now.caps.fcntls = mask;
	return enforce(fd);
}

int capsicum_static_rights(int fd, uint64_t words[2])
{
	int r = look(fd);
	if (r == 0)
		memcpy(words, now.caps.rights, sizeof now.caps.rights);
	return r;
}

int capsicum_static_fcntls(int fd, uint32_t *mask)
{
	int r = look(fd);
	if (r == 0)
		*mask = now.caps.fcntls;
	return r;
}

/* EOPNOTSUPP for a list that was made before the program was executed. */
int capsicum_static_ioctls(int fd, uint32_t cmds[MAX_IOCTLS])
{
	int r = look(fd);
	if (r < 0)
		return r;
	if (now.untold)
		return -EOPNOTSUPP;
	if (!now.caps.listed)
		return ALL_IOCTLS;
	memcpy(cmds, now.caps.ioctls, (size_t)now.caps.nioctls * sizeof *cmds);
	return now.caps.nioctls;
}

int capsicum_static_enter(void)
{
	if (in_mode())
		return 0;
	memcpy(capsicum_room, capsicum_mode, (size_t)capsicum_nmode * sizeof *capsicum_mode);
	long pid = CALL0(SYS_getpid);
	for (int i = 0; i < capsicum_nmode_pids; i++)
		capsicum_room[capsicum_mode_pids[i]].k = (uint32_t)pid;
	return install(capsicum_nmode);
}

int capsicum_static_mode(void)
{
	return in_mode();
}
