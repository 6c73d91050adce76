/*
 * An io_uring that a thread of the kernel's polls (IORING_SETUP_SQPOLL): what is written
 * into its memory is done without a call, so that no filter sees it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "static.h"

/* What getdents64 returns. */
struct entry {
	uint64_t inode;
	int64_t next;
	unsigned short length;
	unsigned char type;
	char name[];
};

/*
 * What of e, 0 for none, the caller is told. Where there is no /proc for him, or no free
 * descriptor, nobody can tell. He may go on unconfined with ENOSYS.
 */
static int told(long e)
{
	if (e == -ENOENT || e == -EACCES || e == -EMFILE || e == -ENFILE)
		return 0;
	return e == -ENOSYS ? -EIO : (int)e;
}

/* Reads the start of a thread's stat; 0 for one that has ended. */
static long read_stat(long tasks, const char *thread, char *to, size_t room)
{
	char path[64];
	size_t n = strlen(thread);
	if (n > 20)
		return -EIO;
	memcpy(path, thread, n);
	memcpy(path + n, "/stat", sizeof "/stat");
	long fd = CALL3(SYS_openat, tasks, path, O_RDONLY | O_CLOEXEC), got = fd;
	if (fd >= 0) {
		got = CALL3(SYS_read, fd, to, room);
		CALL1(SYS_close, fd);
	}
	return got == -ENOENT || got == -ESRCH ? 0 : got;
}

/*
 * EBUSY for a thread that is one of the kernel's that polls. Others, which only finish
 * what was submitted, call themselves so; one that has not come to that yet is taken for
 * the worst.
 */
static long polls(long tasks, const char *thread)
{
	enum { IO_WORKER = 0x10, FIELDS = 6 }; /* PF_IO_WORKER; before the flags, after the name */
	char stat[256];
	if (thread[0] == '.')
		return 0;
	long got = read_stat(tasks, thread, stat, sizeof stat - 1);
	if (got <= 0)
		return got;
	stat[got] = 0;
	const char *at = strrchr(stat, ')');
	for (int i = 0; at && i <= FIELDS; i++)
		at = strchr(at + 1, ' ');
	if (!at || *++at < '0' || *at > '9')
		return -EBADMSG;
	unsigned long flags = 0;
	while (*at >= '0' && *at <= '9')
		flags = flags * 10 + (unsigned long)(*at++ - '0');
	return flags & IO_WORKER && !strstr(stat, " (iou-wrk-") ? -EBUSY : 0;
}

int capsicum_filters_see(void)
{
	_Alignas(struct entry) char some[1024];
	long tasks = CALL3(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n, r = 0;
	if (tasks < 0)
		return told(tasks);
	while (r == 0 && (n = CALL3(SYS_getdents64, tasks, some, sizeof some)) != 0) {
		r = n < 0 ? n : 0;
		for (long at = 0; r == 0 && at < n; at += ((struct entry *)(some + at))->length)
			r = polls(tasks, ((struct entry *)(some + at))->name);
	}
	CALL1(SYS_close, tasks);
	return told(r);
}
