/*
 * An io_uring that a thread of the kernel's polls (IORING_SETUP_SQPOLL): what is written
 * into its memory is done without a call, so that no filter sees it.
 */
#define _GNU_SOURCE
#include <dirent.h>
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
 * Whether a thread is one of the kernel's that polls. Others, which only finish what was
 * submitted, call themselves so; one that has not come to that yet is taken for the worst.
 */
static bool polls(long tasks, const char *thread)
{
	enum { IO_WORKER = 0x10, FIELDS = 6 }; /* PF_IO_WORKER; before the flags, after the name */
	char path[64], stat[256];
	size_t n = strlen(thread);
	if (thread[0] == '.' || n > 20)
		return false;
	memcpy(path, thread, n);
	memcpy(path + n, "/stat", sizeof "/stat");
	long fd = CALL3(SYS_openat, tasks, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	long got = CALL3(SYS_read, fd, stat, sizeof stat - 1);
	CALL1(SYS_close, fd);
	stat[got < 0 ? 0 : got] = 0;
	const char *at = strrchr(stat, ')');
	for (int i = 0; at && i <= FIELDS; i++)
		at = strchr(at + 1, ' ');
	unsigned long flags = 0;
	while (at && *++at >= '0' && *at <= '9')
		flags = flags * 10 + (unsigned long)(*at - '0');
	return flags & IO_WORKER && !strstr(stat, " (iou-wrk-");
}

bool capsicum_submits_unseen(void)
{
	_Alignas(struct entry) char some[1024];
	bool found = false;
	long tasks = CALL3(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n;
	if (tasks < 0)
		return false;
	while (!found && (n = CALL3(SYS_getdents64, tasks, some, sizeof some)) > 0)
		for (long at = 0; at < n; at += ((struct entry *)(some + at))->length)
			found = found || polls(tasks, ((struct entry *)(some + at))->name);
	CALL1(SYS_close, tasks);
	return found;
}
