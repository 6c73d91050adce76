/* The calls of cap_enter(2), cap_rights_limit(2), cap_ioctls_limit(2), cap_fcntls_limit(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/capsicum.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"

/* Tells `capsicum run`, before it starts it, that a program has the library in it. */
__attribute__((used, section(".note.capsicum"), aligned(4))) static const struct {
	uint32_t name_size, size, type;
	char name[12];
	uint32_t release;
} note = {sizeof "Capsicum", sizeof(uint32_t), 1, "Capsicum", 1};

/*
 * How this process is confined, for good: with a supervisor, or by filters alone. The
 * first call that confines chooses; a program that was executed finds what there is.
 */
static enum form { UNCHOSEN, SUPERVISED, ALONE } form;

/* Whose form that is: the owner of this memory, or of what it is a copy of. */
static long whose;

/* The caller is not the owner; what is remembered waits in its place. */
static bool guest;

static void forget(void)
{
	form = UNCHOSEN;
	capsicum_static_forget();
}

static enum form owners;

/* This memory is a copy that process self has got from its parent. */
static void own(uint32_t self)
{
	*capsicum_owner() = self;
	capsicum_join_as_child();
}

/*
 * What is remembered goes for a process, and for a child that got a copy of it. One
 * that shares the memory has filters of its own: it finds nothing, and leaves nothing.
 */
void capsicum_start(struct capsicum_signals *s)
{
	bool torn = capsicum_lock(s);
	uint32_t self = (uint32_t)CALL0(SYS_getpid), *owner = capsicum_owner();
	if (torn || (*owner == 0 && whose != CALL0(SYS_getppid)))
		forget();
	if (*owner == 0)
		own(self);
	guest = *owner != self;
	if (guest) {
		owners = form;
		form = UNCHOSEN;
		capsicum_static_lend();
	} else {
		whose = self;
	}
}

void capsicum_finish(const struct capsicum_signals *s)
{
	if (guest) {
		form = owners;
		capsicum_static_take_back();
	}
	capsicum_unlock(s);
}

void capsicum_born(void)
{
	guest = false;
	whose = CALL0(SYS_getpid);
	own((uint32_t)whose);
}

/*
 * Ends a call: the result, or -1 with errno. What the caller gave the address of is read
 * before it begins and written after it ends: a handler of the fault of a bad one may jump.
 */
static long end(const struct capsicum_signals *s, long r)
{
	capsicum_finish(s);
	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

static bool supervised(void)
{
	if (form == UNCHOSEN && capsicum_join())
		form = SUPERVISED;
	return form == SUPERVISED;
}

/* Other threads' calls are asked about from the middle of this on. */
static bool attach(void)
{
	int before = capsicum_set_asked(1);
	bool attached = capsicum_attach() == 0;
	if (!attached)
		capsicum_set_asked(before);
	return attached;
}

/* The same for a call that confines: a process that has no form gets one. */
static bool confined(void)
{
	if (supervised())
		return true;
	if (form == UNCHOSEN)
		form = !capsicum_static_begun() && capsicum_can_filter() && attach() ? SUPERVISED : ALONE;
	return form == SUPERVISED;
}

/*
 * Keeps the kernel from making a core file, which it would by a global name; the mode
 * refuses to change that limit. 1 is less than the least of them and, unlike 0, also what
 * keeps the kernel from handing one to a program (core(5)). Where there are no filters
 * nothing changes.
 */
static int give_up_core(void)
{
	struct rlimit none = {1, 1}, now;
	if (!capsicum_can_filter() || CALL4(SYS_prlimit64, 0, RLIMIT_CORE, &none, 0) == 0)
		return 0;
	long r = CALL4(SYS_prlimit64, 0, RLIMIT_CORE, 0, &now);
	if (r == 0 && now.rlim_cur > 1) { /* a security module may guard the hard limit alone */
		now.rlim_cur = 1;
		r = CALL4(SYS_prlimit64, 0, RLIMIT_CORE, &now, 0);
	}
	return r == -ENOSYS ? -EPERM : (int)r; /* a caller may go on unconfined after ENOSYS */
}

static int enter(void)
{
	bool has_supervisor = confined();
	int r = give_up_core();
	if (r < 0 && r != -ECAPMODE) /* which says that it is in the mode */
		return r;
	return has_supervisor ? capsicum_supervised_enter() : capsicum_static_enter();
}

PUBLIC int cap_enter(void)
{
	struct capsicum_signals s;
	if (capsicum_sound()) {
		capsicum_keep_local_time();
		capsicum_keep_unwinding();
		capsicum_keep_charset();
	}
	capsicum_keep_lines();
	capsicum_start(&s);
	return (int)end(&s, enter());
}

static int mode(void)
{
	struct capsicum_signals s;
	capsicum_start(&s);
	return (int)end(&s, supervised() ? capsicum_supervised_mode() : capsicum_static_mode());
}

PUBLIC int cap_getmode(unsigned int *modep)
{
	if (!modep) {
		errno = EFAULT;
		return -1;
	}
	int r = mode();
	if (r < 0)
		return -1;
	*modep = (unsigned int)r;
	return 0;
}

PUBLIC bool cap_sandboxed(void)
{
	int before = errno, r = mode();
	errno = before;
	return r == 1;
}

static int fail(int e)
{
	errno = e;
	return -1;
}

/* Begins a call that limits fd. A limit of any kind keeps stdio from asking what it is. */
static void start_limit(int fd, struct capsicum_signals *s)
{
	if (fd == STDOUT_FILENO)
		capsicum_keep_lines();
	capsicum_start(s);
}

PUBLIC int cap_rights_limit(int fd, const cap_rights_t *rights)
{
	struct capsicum_signals s;
	if (!rights)
		return fail(EFAULT);
	cap_rights_t r = *rights;
	if (!cap_rights_is_valid(&r))
		return fail(EINVAL);
	start_limit(fd, &s);
	return (int)end(&s, confined() ? capsicum_supervised_limit_rights(fd, r.cr_rights)
				       : capsicum_static_limit_rights(fd, r.cr_rights));
}

PUBLIC int __cap_rights_get(int version, int fd, cap_rights_t *rights)
{
	uint64_t words[2];
	struct capsicum_signals s;
	if (version != CAP_RIGHTS_VERSION_00)
		return fail(EINVAL);
	if (!rights)
		return fail(EFAULT);
	capsicum_start(&s);
	int r = (int)end(&s, supervised() ? capsicum_supervised_rights(fd, words) : capsicum_static_rights(fd, words));
	if (r == 0)
		memcpy(rights->cr_rights, words, sizeof words);
	return r;
}

PUBLIC int cap_rights_get(int fd, cap_rights_t *rights)
{
	return __cap_rights_get(CAP_RIGHTS_VERSION, fd, rights);
}

/*
 * The 32 bits of a command that Linux looks at: a value that was an int once may have
 * its sign above.
 */
static bool narrow(cap_ioctl_t cmd, uint32_t *out)
{
	*out = (uint32_t)cmd;
	return cmd == (uint32_t)cmd || (long)cmd == (int32_t)*out;
}

PUBLIC int cap_ioctls_limit(int fd, const cap_ioctl_t *cmds, size_t ncmds)
{
	uint32_t list[MAX_IOCTLS];
	struct capsicum_signals s;
	if (ncmds > MAX_IOCTLS)
		return fail(EINVAL);
	if (!cmds && ncmds > 0)
		return fail(EFAULT);
	for (size_t i = 0; i < ncmds; i++)
		if (!narrow(cmds[i], &list[i]))
			return fail(EINVAL);
	start_limit(fd, &s);
	return (int)end(&s, confined() ? capsicum_supervised_limit_ioctls(fd, list, (int)ncmds)
				       : capsicum_static_limit_ioctls(fd, list, (int)ncmds));
}

PUBLIC ssize_t cap_ioctls_get(int fd, cap_ioctl_t *cmds, size_t maxcmds)
{
	uint32_t list[MAX_IOCTLS];
	struct capsicum_signals s;
	capsicum_start(&s);
	int n = (int)end(&s, supervised() ? capsicum_supervised_ioctls(fd, list) : capsicum_static_ioctls(fd, list));
	if (n == ALL_IOCTLS)
		return CAP_IOCTLS_ALL;
	for (int i = 0; cmds && i < n && (size_t)i < maxcmds; i++)
		cmds[i] = list[i];
	return n;
}

PUBLIC int cap_fcntls_limit(int fd, uint32_t fcntlrights)
{
	struct capsicum_signals s;
	if (fcntlrights & ~CAP_FCNTL_ALL)
		return fail(EINVAL);
	start_limit(fd, &s);
	return (int)end(&s, confined() ? capsicum_supervised_limit_fcntls(fd, fcntlrights)
				       : capsicum_static_limit_fcntls(fd, fcntlrights));
}

PUBLIC int cap_fcntls_get(int fd, uint32_t *fcntlrightsp)
{
	struct capsicum_signals s;
	uint32_t mask = 0;
	if (!fcntlrightsp)
		return fail(EFAULT);
	capsicum_start(&s);
	int r = (int)end(&s, supervised() ? capsicum_supervised_fcntls(fd, &mask) : capsicum_static_fcntls(fd, &mask));
	if (r == 0)
		*fcntlrightsp = mask;
	return r;
}

PUBLIC const char *capsicum_strerror(int error)
{
	switch (error) {
	case ECAPMODE:
		return "Not permitted in capability mode";
	case ENOTCAPABLE:
		return "Capabilities insufficient";
	}
	return strerror(error);
}
