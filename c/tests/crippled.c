/*
 * Callers that can have no supervisor: without descriptors, processes, files to write,
 * or a file system. They are confined all the same. Each combination is tried.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

enum { CHROOT = 1, SETUID = 2, NPROC = 4, FSIZE = 8, FORKED = 16, LIMITS_LAST = 32, STREAMS = 64, COMBINATIONS = 128 };

static const int nofiles[] = {-1, 0, 1, 2, 3};

static void set_limit(int what, rlim_t n)
{
	struct rlimit l = {n, n};
	SUCCEEDS(setrlimit(what, &l));
}

static char dir[] = "/tmp/capsicum-c-XXXXXX"; /* empty */

static void cripple(int how, int nofile)
{
	if (how & CHROOT)
		CHECK(chroot(dir) == 0 && chdir("/") == 0);
	if (nofile >= 0)
		set_limit(RLIMIT_NOFILE, (rlim_t)nofile);
	if (how & FSIZE)
		set_limit(RLIMIT_FSIZE, 0);
	if (how & SETUID)
		SUCCEEDS(setresuid(1500, 1500, 1500));
	if (how & NPROC)
		set_limit(RLIMIT_NPROC, 0);
}

static void no_stream(int fd)
{
	char b;
	SUCCEEDS(limit(fd, 0ULL));
	FAILS(fd ? write(fd, "x", 1) : read(fd, &b, 1), ENOTCAPABLE);
}

static void confine(int how, int fd, int s)
{
	struct stat st;
	char b;
	CHECK(pread(fd, &b, 1, 0) == 1 && fstat(fd, &st) == 0);
	CHECK(send(s, "x", 1, 0) == 1);
	if (!(how & LIMITS_LAST)) {
		SUCCEEDS(limit(fd, CAP_READ, 0ULL));
		SUCCEEDS(limit(s, CAP_WRITE, 0ULL));
	}
	SUCCEEDS(cap_enter());
	CHECK(cap_sandboxed());
	if (how & LIMITS_LAST) {
		SUCCEEDS(limit(fd, CAP_READ, 0ULL));
		SUCCEEDS(limit(s, CAP_WRITE, 0ULL));
	}
	CHECK(read(fd, &b, 1) == 1 && send(s, "x", 1, 0) == 1);
	FAILS(fstat(fd, &st), ENOTCAPABLE);
	FAILS(pread(fd, &b, 1, 0), ENOTCAPABLE);
	FAILS(recv(s, &b, 1, MSG_DONTWAIT), ENOTCAPABLE);
	FAILS(open("/", O_RDONLY), ECAPMODE);
	FAILS(openat(AT_FDCWD, "x", O_RDONLY), ECAPMODE);
	FAILS(stat("/", &st), ECAPMODE);
	if (how & STREAMS)
		for (int i = 0; i < 3; i++)
			no_stream(i);
}

static void one(int how, int nofile)
{
	int s[2], fd = scratch(), status = 0;
	SUCCEEDS(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	if (how & STREAMS)
		for (int i = 0; i < 2; i++)
			SUCCEEDS(dup2(scratch(), i));
	if (how & FORKED) {
		pid_t pid = fork();
		SUCCEEDS(pid);
		if (pid > 0) {
			CHECK(waitpid(pid, &status, 0) == pid);
			_exit(status != 0);
		}
	}
	cripple(how, nofile);
	confine(how, fd, s[0]);
	_exit(0);
}

/* Makes a process with the same descriptors. */
static long sharer(void)
{
	long pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	return pid;
}

/* What children inherit, or would not hear of. */
static void relatives(void)
{
	int s[2], fd, status;
	pid_t pid = fork();
	SUCCEEDS(pid);
	if (pid > 0) {
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		return;
	}
	SUCCEEDS(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	SUCCEEDS(fd = scratch());
	SUCCEEDS(fcntl(fd, F_SETFL, O_APPEND));
	set_limit(RLIMIT_NOFILE, 0);
	SUCCEEDS(cap_enter());
	FAILS(fcntl(s[0], F_SETOWN, getpid()), ECAPMODE);
	SUCCEEDS(fcntl(s[0], F_SETOWN, 0));
	FAILS(sharer(), ENOTCAPABLE);
	struct iovec word = {"x", 1};
	SUCCEEDS(limit(fd, CAP_WRITE, 0ULL));
	CHECK(syscall(SYS_pwritev2, fd, &word, 1, -1L, -1L, 0) == 1);
	FAILS(syscall(SYS_pwritev2, fd, &word, 1, -1L, -1L, 0x20 /* RWF_NOAPPEND */), ENOTCAPABLE);
	_exit(0);
}

static void combinations(void)
{
	int root = geteuid() == 0, tried = 0;
	CHECK(mkdtemp(dir));
	for (int how = 0; how < COMBINATIONS; how++)
		for (size_t i = 0; i < sizeof nofiles / sizeof nofiles[0]; i++) {
			int status;
			if (!root && how & (CHROOT | SETUID))
				continue;
			pid_t pid = fork();
			SUCCEEDS(pid);
			if (pid == 0)
				one(how, nofiles[i]);
			CHECK(waitpid(pid, &status, 0) == pid);
			if (status != 0) {
				fprintf(stderr, "combination %#x, %d descriptors: status %#x\n", how, nofiles[i], status);
				exit(1);
			}
			tried++;
		}
	SUCCEEDS(rmdir(dir));
	CHECK(tried == (root ? 128 : 32) * 5);
}

const struct test_case crippled_cases[] = {
	{"crippled", combinations}, {"relatives of the crippled", relatives}, {NULL, NULL},
};
