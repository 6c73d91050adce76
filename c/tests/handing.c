/*
 * Supervisors that fail a program while they take over, and where the kernel tells little
 * of other processes. This program is the supervisor too, as what is executed under the
 * name of one. Its argument says how it fails, and what is refused.
 */
#define _GNU_SOURCE
#include <capsicum_helpers.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int alone;
#include "check.h"

/* What attach.c has. */
struct page {
	volatile unsigned state;
	int listener, error;
	unsigned count;
	struct sock_filter code[4096];
};

enum { STARTED, INTRODUCED, READY, INSTALLED };

/* The filter asks about calls that a library must not make which waits for its supervisor. */
static const struct sock_filter asks[] = {
	{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
	{BPF_JMP | BPF_JEQ | BPF_K, 4, 0, SYS_dup},
	{BPF_JMP | BPF_JEQ | BPF_K, 3, 0, SYS_ppoll},
	{BPF_JMP | BPF_JEQ | BPF_K, 2, 0, SYS_kill},
	{BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_pidfd_send_signal},
	{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
	{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF},
};

/* A supervisor that ends once it is relied upon; or that is never ready: how nice it is says so. */
static int supervise(void)
{
	struct page *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
	if (p == MAP_FAILED)
		return 2;
	alarm(240);
	while (p->state != INTRODUCED)
		usleep(1000);
	if (getpriority(PRIO_PROCESS, 0) == 7)
		for (;;)
			pause();
	memcpy(p->code, asks, sizeof asks);
	p->count = sizeof asks / sizeof asks[0];
	p->state = READY;
	while (p->state != INSTALLED)
		usleep(1000);
	return 0;
}

static unsigned long open_numbers(void)
{
	unsigned long sum = 0;
	for (int i = 0; i < 1000; i++)
		if (fcntl(i, F_GETFD) >= 0)
			sum = sum * 31 + (unsigned long)i + 1;
	return sum;
}

/* Which of the ways to tell that a process has ended there are. */
static void refused(const char *what)
{
	if (strstr(what, "memory"))
		refuse(SYS_process_vm_readv, EPERM);
	if (strstr(what, "number"))
		refuse(SYS_getpriority, EPERM);
	if (strstr(what, "pidfd"))
		refuse(SYS_epoll_create1, EPERM);
	if (strstr(what, "kill"))
		refuse(SYS_kill, EPERM);
	if (strstr(what, "signal"))
		refuse(SYS_pidfd_send_signal, ENOSYS);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[0], "capsicum: supervisor of") == 0)
		return supervise();
	CHECK(argc == 3);
	int never = strcmp(argv[1], "never") == 0, fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), end[2];
	cap_rights_t r;
	char b;
	SUCCEEDS(setenv("CAPSICUM_SUPERVISOR", "/proc/self/exe", 1));
	SUCCEEDS(pipe2(end, O_CLOEXEC));
	SUCCEEDS(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0));
	if (never) {
		SUCCEEDS(setpriority(PRIO_PROCESS, 0, 7));
		refuse(SYS_futex, ETIMEDOUT); /* time flies */
	}
	refused(argv[2]);
	if (strstr(argv[2], "closed"))
		for (int i = 0; i < 3; i++)
			close(i);
	unsigned long before = open_numbers();
	alarm(240);
	cap_rights_init(&r, CAP_READ);
	SUCCEEDS(cap_rights_limit(fd, &r)); /* by a filter alone */
	CHECK(open_numbers() == before);
	CHECK(lseek(fd, 0, SEEK_SET) < 0 && errno == ENOTCAPABLE);
	CHECK(read(fd, &b, 1) == 1);
	if (!never)
		FAILS(dup(end[0]), ENOSYS);
	return 0;
}
