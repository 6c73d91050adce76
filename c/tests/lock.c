/*
 * The lock and what other processes do to it. Linked with the archive, where hidden
 * names can be had.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "../src/library.h"

static char stacks[4][64 * 1024];
static volatile int locked, stage;

/* Takes the lock, and ends with it. */
static int keeps(void *arg)
{
	struct capsicum_signals s;
	(void)arg;
	CHECK(!capsicum_lock(&s));
	locked = 1;
	while (stage == 0)
		usleep(1000);
	syscall(SYS_exit, 0);
	return 0;
}

static pid_t start(int flags)
{
	static int n;
	pid_t pid = clone(keeps, stacks[++n], flags | SIGCHLD, NULL);
	SUCCEEDS(pid);
	return pid;
}

static void *other(void *arg)
{
	struct capsicum_signals s;
	*(int *)arg = capsicum_lock(&s);
	capsicum_unlock(&s);
	return NULL;
}

/* Whoever shares the memory is waited for while it lives, and no longer. */
static void shared(void)
{
	pthread_t t;
	int torn = 9;
	pid_t pid = start(CLONE_VM);
	while (!locked)
		usleep(1000);
	CHECK(pthread_create(&t, NULL, other, &torn) == 0);
	usleep(60000);
	CHECK(torn == 9);
	stage = 1;
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(torn == 1);
}

/* What is copied is nobody's, though it says that its writer was in the middle. */
static void copied(void)
{
	struct capsicum_signals s;
	int status;
	CHECK(!capsicum_lock(&s));
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	SUCCEEDS(pid);
	if (pid == 0) {
		struct capsicum_signals mine;
		CHECK(capsicum_lock(&mine));
		capsicum_unlock(&mine);
		CHECK(!capsicum_lock(&mine));
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	capsicum_unlock(&s);
}

int main(void)
{
	alarm(240);
	copied();
	shared();
	cap_rights_t r;
	SUCCEEDS(cap_rights_get(0, &r));
	return 0;
}
