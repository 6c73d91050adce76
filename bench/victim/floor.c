// Prints how long the least that a supervisor can do takes: "name nanoseconds" a
// line. A child that shares this process's descriptors answers its filter's
// questions, with nothing looked at that need not be. "openat beside" is an openat with a
// question after each that takes two microseconds to answer, as a close has.
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

enum { ask = 0x43415 }; // no kernel's
enum { answer, opened, judged };

static int dir, listener;

static void respond(__u64 id, long value) {
	struct seccomp_notif_resp r = {.id = id, .val = value};
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r) < 0) _exit(2);
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

// serve answers for ever; the parent's death ends it.
static void serve(void) {
	for (;;) {
		struct seccomp_notif n = {0};
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n) < 0) _exit(1);
		if (n.data.args[0] != opened) {
			double until = now() + (n.data.args[0] == judged ? 2000 : 0);
			while (now() < until) {
			}
			respond(n.id, 0);
			continue;
		}
		char name[64] = "";
		struct iovec here = {name, sizeof name - 1}, there = {(void *)n.data.args[1], sizeof name - 1};
		struct open_how how = {.flags = O_RDWR | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
		if (process_vm_readv(n.pid, &here, 1, &there, 1, 0) < 0) _exit(1);
		int fd = syscall(SYS_openat2, dir, name, &how, sizeof how);
		if (fd < 0) _exit(1);
		struct seccomp_notif_addfd a = {.id = n.id, .srcfd = fd, .newfd_flags = O_CLOEXEC};
		int given = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &a);
		if (given < 0) _exit(1);
		close(fd);
		respond(n.id, given);
	}
}

static void install(void) {
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ask, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof code / sizeof *code, code};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	if (listener < 0) err(1, "install filter");
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, 1UL); // wake synchronously, since Linux 6.6
}

static int ascending(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

// measure returns the median time of a question, each with another after it if beside.
static double measure(int what, int beside, int times) {
	char name[64] = "data";
	double *took = calloc((size_t)times, sizeof *took);
	if (!took) err(1, "calloc");
	for (int i = 0; i < times; i++) {
		double from = now();
		int fd = syscall(ask, what, name);
		took[i] = now() - from;
		if (fd < 0) err(1, "nobody answers");
		if (what == opened) close(fd);
		if (beside) syscall(ask, judged);
	}
	qsort(took, (size_t)times, sizeof *took, ascending);
	return took[times / 2];
}

int main(int argc, char **argv) {
	if (argc != 3) errx(2, "usage: floor count directory");
	dir = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) err(1, "%s", argv[2]);
	install();
	pid_t child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		serve();
	}
	int times = atoi(argv[1]);
	static const struct {
		const char *name;
		int what, beside;
	} rows[] = {{"question and answer", answer, 0}, {"openat", opened, 0}, {"openat beside", opened, 1}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		measure(rows[i].what, rows[i].beside, times / 10);
		printf("%s\t%.1f\n", rows[i].name, measure(rows[i].what, rows[i].beside, times));
	}
	fflush(stdout);
	kill(child, SIGKILL);
	return 0;
}
