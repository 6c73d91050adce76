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

/* Whether a thread has the name that the kernel gives its own ones. */
static bool polls(long tasks, const char *thread)
{
	static const char kernels[] = "iou-sqp-";
	char path[64], name[sizeof kernels - 1];
	size_t n = strlen(thread);
	if (thread[0] == '.' || n > 20)
		return false;
	memcpy(path, thread, n);
	memcpy(path + n, "/comm", sizeof "/comm");
	long fd = CALL3(SYS_openat, tasks, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	long got = CALL3(SYS_read, fd, name, sizeof name);
	CALL1(SYS_close, fd);
	return got == sizeof name && memcmp(name, kernels, sizeof name) == 0;
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
