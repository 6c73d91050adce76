/* Waiting for stops, and the forks that FreeBSD's newer calls make. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/procdesc.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "check.h"

/* A child that waits for a signal, or for *tell to be closed: then it exits with 7. */
static pid_t waiting(int *pd, int *tell)
{
	int p[2];
	SUCCEEDS(pipe(p));
	pid_t pid = pdfork(pd, 0);
	SUCCEEDS(pid);
	if (pid == 0) {
		char b;
		close(p[1]);
		while (read(p[0], &b, 1) > 0)
			;
		_exit(7);
	}
	close(p[0]);
	*tell = p[1];
	return pid;
}

static void wait_arguments(void)
{
	int pd, tell, closed = 999;
	waiting(&pd, &tell);
	FAILS(pdwait(pd, NULL, 0, NULL, NULL), EINVAL);
	FAILS(pdwait(pd, NULL, WNOHANG | WNOWAIT, NULL, NULL), EINVAL);
	FAILS(pdwait(pd, NULL, -1, NULL, NULL), EINVAL);
	FAILS(pdwait(closed, NULL, WEXITED, NULL, NULL), EBADF);
	FAILS(pdwait(scratch(), NULL, WEXITED, NULL, NULL), EINVAL);
	FAILS(pdwait(closed, NULL, WEXITED | WUNTRACED, NULL, NULL), EBADF);
	FAILS(pdwait(scratch(), NULL, WEXITED | WUNTRACED, NULL, NULL), EINVAL);
	FAILS(pdwait4(pd, NULL, WNOWAIT, NULL), EINVAL);
}

static void wait_end(void)
{
	int pd, tell, status = -1;
	struct __wrusage used;
	siginfo_t info;
	pid_t pid = waiting(&pd, &tell);
	static const int options[] = {WEXITED, WEXITED | WUNTRACED | WCONTINUED, WTRAPPED, WUNTRACED};
	for (int i = 0; i < 4; i++)
		FAILS(pdwait(pd, &status, options[i] | WNOHANG, NULL, NULL), EWOULDBLOCK);
	close(tell);
	/* What is not asked for is not told. */
	FAILS(pdwait(pd, &status, WTRAPPED, NULL, NULL), ESRCH);
	FAILS(pdwait(pd, &status, WUNTRACED | WCONTINUED, NULL, NULL), ESRCH);
	for (int i = 0; i < 2; i++) {
		SUCCEEDS(pdwait(pd, &status, options[i] | WNOWAIT, NULL, NULL));
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	}
	memset(&info, 1, sizeof info);
	memset(&used, 1, sizeof used);
	CHECK(pdwait(pd, NULL, WEXITED | WUNTRACED, &used, &info) == 0);
	CHECK(info.si_signo == SIGCHLD && info.si_errno == 0 && info.si_code == CLD_EXITED && info.si_pid == pid && info.si_status == 7);
	CHECK(info.si_uid == getuid());
	CHECK(used.wru_self.ru_minflt > 0 && used.wru_children.ru_minflt == 0 && used.wru_children.ru_utime.tv_usec == 0);
	for (int i = 0; i < 4; i++)
		FAILS(pdwait(pd, &status, options[i], NULL, NULL), ESRCH);
}

static short hung(int pd)
{
	struct pollfd p = {pd, POLLIN, 0};
	SUCCEEDS(poll(&p, 1, 0));
	return p.revents;
}

/* Each stop and each continuation once, with and without a limit of the descriptor. */
static void wait_changes(void)
{
	int pd, tell, status;
	siginfo_t info;
	struct __wrusage used;
	pid_t pid = waiting(&pd, &tell);
	for (int round = 0; round < 20; round++) {
		int quiet = round % 2 ? WNOHANG : 0;
		SUCCEEDS(pdkill(pd, SIGSTOP));
		CHECK(pdwait(pd, &status, WEXITED | WUNTRACED | WNOWAIT, &used, &info) == 0);
		CHECK(info.si_signo == SIGCHLD && info.si_code == CLD_STOPPED && info.si_status == SIGSTOP && info.si_pid == pid);
		CHECK(used.wru_self.ru_maxrss > 0 && hung(pd) == 0);
		FAILS(pdwait(pd, &status, WCONTINUED | WNOHANG, NULL, NULL), EWOULDBLOCK);
		CHECK(pdwait(pd, &status, WUNTRACED | quiet, NULL, NULL) == 0);
		CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
		FAILS(pdwait(pd, &status, WUNTRACED | WEXITED | WNOHANG, NULL, NULL), EWOULDBLOCK);
		SUCCEEDS(pdkill(pd, SIGCONT));
		CHECK(pdwait(pd, &status, WCONTINUED, NULL, NULL) == 0 && WIFCONTINUED(status));
		FAILS(pdwait(pd, &status, WCONTINUED | WUNTRACED | WNOHANG, NULL, NULL), EWOULDBLOCK);
	}
	/* What is no more is not told. */
	SUCCEEDS(pdkill(pd, SIGSTOP));
	SUCCEEDS(pdwait(pd, &status, WUNTRACED | WNOWAIT, NULL, NULL));
	SUCCEEDS(pdkill(pd, SIGCONT));
	SUCCEEDS(pdwait(pd, &status, WCONTINUED | WNOWAIT, NULL, NULL));
	FAILS(pdwait(pd, &status, WUNTRACED | WNOHANG, NULL, NULL), EWOULDBLOCK);
	SUCCEEDS(pdwait(pd, &status, WCONTINUED, NULL, NULL));
	/* By its number, too. */
	CHECK(waitpid(pid, &status, WNOHANG | WUNTRACED) == 0);
	SUCCEEDS(pdkill(pd, SIGSTOP));
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	SUCCEEDS(pdkill(pd, SIGKILL));
	CHECK(pdwait4(pd, &status, WUNTRACED, NULL) == pid && WIFSIGNALED(status));
}

static atomic_bool stop_seen;

static void *stops(void *arg)
{
	int pd = *(int *)arg;
	usleep(30000);
	SUCCEEDS(pdkill(pd, SIGSTOP));
	while (!atomic_load(&stop_seen)) /* else there would be no stop any more, but an end */
		usleep(1000);
	usleep(30000);
	SUCCEEDS(pdkill(pd, SIGKILL));
	return NULL;
}

static void *ended(void *arg)
{
	int status;
	return (void *)(long)(pdwait(*(int *)arg, &status, WEXITED | WUNTRACED, NULL, NULL) == 0 || errno == ESRCH ? 0 : errno);
}

static void *takes(void *arg)
{
	int status;
	return (void *)(long)pdwait(*(int *)arg, &status, WUNTRACED | WNOHANG, NULL, NULL);
}

/* A wait sleeps until there is a change, or the end; and one of many is told. */
static void wait_sleeps(void)
{
	int pd, tell, status;
	pthread_t t[8];
	pid_t pid = waiting(&pd, &tell);
	atomic_store(&stop_seen, false);
	CHECK(pthread_create(&t[0], NULL, stops, &pd) == 0);
	SUCCEEDS(pdwait(pd, &status, WUNTRACED, NULL, NULL));
	atomic_store(&stop_seen, true);
	CHECK(WIFSTOPPED(status));
	FAILS(pdwait(pd, &status, WUNTRACED, NULL, NULL), ESRCH);
	CHECK(pthread_join(t[0], NULL) == 0 && waitpid(pid, &status, 0) == pid);
	close(pd);

	pid = waiting(&pd, &tell);
	SUCCEEDS(pdkill(pd, SIGSTOP));
	SUCCEEDS(pdwait(pd, &status, WUNTRACED | WNOWAIT, NULL, NULL));
	int told = 0;
	for (int i = 0; i < 8; i++)
		CHECK(pthread_create(&t[i], NULL, takes, &pd) == 0);
	for (int i = 0; i < 8; i++) {
		void *r;
		CHECK(pthread_join(t[i], &r) == 0);
		told += r == NULL;
	}
	CHECK(told == 1);
	/* The end is for all who wait. */
	for (int i = 0; i < 8; i++)
		CHECK(pthread_create(&t[i], NULL, ended, &pd) == 0);
	usleep(30000);
	SUCCEEDS(pdkill(pd, SIGKILL));
	for (int i = 0; i < 8; i++) {
		void *r;
		CHECK(pthread_join(t[i], &r) == 0 && r == NULL);
	}
	close(pd);

	pid = waiting(&pd, &tell);
	/* The helper is killed, and the child with it. */
	char path[100], text[2000] = "", *line;
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	int fd = open(path, O_RDONLY);
	CHECK(read(fd, text, sizeof text - 1) > 0 && (line = strstr(text, "PPid:")));
	SUCCEEDS(kill(atoi(line + 5), SIGKILL));
	FAILS(pdwait(pd, &status, WUNTRACED | WCONTINUED | WEXITED, NULL, NULL), ESRCH);
}

/* Other processes are told of the end only. */
static void wait_elsewhere(void)
{
	int pd, tell, status;
	waiting(&pd, &tell);
	pid_t other = fork();
	SUCCEEDS(other);
	if (other == 0) {
		FAILS(pdwait(pd, &status, WUNTRACED | WEXITED, NULL, NULL), EOPNOTSUPP);
		FAILS(pdwait(pd, &status, WCONTINUED | WNOHANG, NULL, NULL), EOPNOTSUPP);
		SUCCEEDS(pdkill(pd, SIGKILL));
		SUCCEEDS(pdwait(pd, &status, WEXITED | WNOWAIT, NULL, NULL));
		SUCCEEDS(pdwait(pd, &status, WUNTRACED | WEXITED, NULL, NULL));
		_exit(WIFSIGNALED(status) ? 0 : 1);
	}
	CHECK(waitpid(other, &status, 0) == other && status == 0);
	FAILS(pdwait(pd, &status, WEXITED, NULL, NULL), ESRCH);
}

/* Of three children one may not be waited for, one may, and of one nothing else. */
static void wait_rights(void)
{
	int pd[3], tell[3], status;
	for (int i = 0; i < 3; i++)
		waiting(&pd[i], &tell[i]);
	SUCCEEDS(limit(pd[0], CAP_PDKILL, CAP_FSTAT, CAP_EVENT, 0ULL));
	SUCCEEDS(limit(pd[1], CAP_PDWAIT, CAP_PDKILL, 0ULL));
	SUCCEEDS(limit(pd[2], CAP_PDWAIT, 0ULL));
	for (int mode = 0; mode < 2; mode++) {
		static const int options[] = {WEXITED, WUNTRACED, WTRAPPED};
		for (int i = 0; i < 3; i++)
			FAILS(pdwait(pd[0], &status, options[i] | WNOHANG, NULL, NULL), ENOTCAPABLE);
		if (!alone) {
			SUCCEEDS(pdkill(pd[1], SIGSTOP));
			SUCCEEDS(pdwait(pd[1], &status, WUNTRACED, NULL, NULL));
			CHECK(WIFSTOPPED(status));
			SUCCEEDS(pdkill(pd[1], SIGCONT));
			SUCCEEDS(pdwait(pd[1], &status, WCONTINUED, NULL, NULL));
			FAILS(pdwait(pd[2], &status, WCONTINUED | WUNTRACED | WNOHANG, NULL, NULL), EWOULDBLOCK);
		}
		SUCCEEDS(cap_enter());
	}
}

#ifndef __SANITIZE_ADDRESS__
static struct {
	int how, pd;
	pid_t pid;
} wait_of;

static void *wait_for_ever(void *arg)
{
	int status;
	switch (wait_of.how) {
	case 0:
		waitpid(wait_of.pid, &status, 0);
		break;
	case 1:
		wait4(-1, &status, 0, NULL);
		break;
	case 2:
		waitpid(wait_of.pid, &status, WUNTRACED);
		break;
	case 3:
		pdwait4(wait_of.pd, &status, 0, NULL);
		break;
	case 4:
		pdwait(wait_of.pd, &status, WCONTINUED, NULL, NULL);
		break;
	}
	return arg;
}

static void cancelled_wait(int how)
{
	pthread_t thread;
	void *result;
	wait_of.how = how;
	CHECK(pthread_create(&thread, NULL, wait_for_ever, NULL) == 0);
	usleep(50000);
	CHECK(pthread_cancel(thread) == 0);
	CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
}

/* A thread that waits for a process can be cancelled, and the next finds everything as it was. */
static void wait_cancelled(void)
{
	int tell, status;
	pid_t other = fork();
	SUCCEEDS(other);
	if (other == 0) {
		alarm(240);
		pause();
		_exit(0);
	}
	wait_of.pid = other;
	cancelled_wait(0);
	cancelled_wait(1);
	wait_of.pid = waiting(&wait_of.pd, &tell);
	for (int round = 0; round < 2; round++) {
		for (int how = 0; how < 5; how++)
			cancelled_wait(how);
		SUCCEEDS(pdkill(wait_of.pd, SIGSTOP));
		SUCCEEDS(pdwait(wait_of.pd, &status, WUNTRACED, NULL, NULL));
		CHECK(WIFSTOPPED(status));
		SUCCEEDS(pdkill(wait_of.pd, SIGCONT));
		SUCCEEDS(pdwait(wait_of.pd, &status, WCONTINUED, NULL, NULL));
		if (alone)
			break;
		SUCCEEDS(limit(wait_of.pd, CAP_PDWAIT, CAP_PDKILL, CAP_PDGETPID, 0ULL));
	}
	SUCCEEDS(kill(other, SIGKILL));
	CHECK(waitpid(other, &status, 0) == other && WIFSIGNALED(status));
	SUCCEEDS(pdkill(wait_of.pd, SIGKILL));
	CHECK(pdwait4(wait_of.pd, &status, 0, NULL) == wait_of.pid && WIFSIGNALED(status));
}
#endif

static void fork_refused(void)
{
	static const struct { unsigned flags; int error; } refused[] = {
		{0, EINVAL}, {RFPROC, EINVAL}, {RFPROCDESC, EINVAL}, {RFPROC | RFFDG, EINVAL}, {-1U, EINVAL}, {RFSPAWN | RFNOWAIT, EINVAL},
		{RFPROC | RFPROCDESC | RFFDG | RFCFDG, EINVAL}, {RFPROC | RFPROCDESC | RFFDG | 1, EINVAL},
		{RFPROC | RFPROCDESC | RFFDG | RFTSIGZMB | RFTSIGFLAGS(65), EINVAL},
		{RFPROC | RFPROCDESC, EOPNOTSUPP}, {RFSPAWN, EOPNOTSUPP}, {RFPROC | RFPROCDESC | RFFDG | RFMEM, EOPNOTSUPP},
		{RFPROC | RFPROCDESC | RFFDG | RFSIGSHARE, EOPNOTSUPP},
	};
	int pd = -1;
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
		FAILS(pdrfork(&pd, 0, (int)refused[i].flags), refused[i].error);
	FAILS(pdrfork(&pd, -1, (int)RFSPAWN), EINVAL);
	FAILS(pdrfork(NULL, 0, RFPROC | RFPROCDESC | RFFDG), EFAULT);
	CHECK(pd == -1);
	FAILS(waitpid(-1, NULL, WNOHANG), ECHILD);
}

/* What a child says that it is: 1 without descriptors, 2 with another parent, 4 with a descriptor of itself. */
static int made(int flags, int pdflags)
{
	int pd = -1, status;
	pid_t parent = getpid(), pid = pdrfork(&pd, pdflags, RFPROC | RFPROCDESC | flags);
	SUCCEEDS(pid);
	if (pid == 0)
		_exit((fcntl(0, F_GETFD) < 0 && fcntl(300, F_GETFD) < 0 ? 1 : 0) | (getppid() == parent ? 0 : 2) | (pd == -1 ? 0 : 4));
	CHECK(pd >= 0);
	if (flags & RFNOWAIT)
		FAILS(waitpid(pid, &status, WNOHANG), ECHILD);
	SUCCEEDS(pdwait(pd, &status, WEXITED, NULL, NULL));
	CHECK(WIFEXITED(status) && ((fcntl(pd, F_GETFD) & FD_CLOEXEC) != 0) == ((pdflags & PD_CLOEXEC) != 0));
	close(pd);
	return WEXITSTATUS(status);
}

static void fork_flags(void)
{
	SUCCEEDS(dup2(1, 300));
	CHECK(made(RFFDG, 0) == 0);
	CHECK(made(RFFDG | RFTHREAD | RFLINUXTHPN | RFTSIGZMB | RFTSIGFLAGS(SIGUSR1), PD_CLOEXEC) == 0);
	CHECK(made(RFCFDG, 0) == 1);
	CHECK(made(RFFDG | RFNOWAIT, PD_DAEMON) == 2);
	CHECK(made(RFCFDG | RFNOWAIT, PD_CLOEXEC) == 3);
	if (alone)
		return;
	SUCCEEDS(limit(0, CAP_READ, 0ULL)); /* closed one by one */
	CHECK(made(RFCFDG, 0) == 1);
	SUCCEEDS(cap_enter());
	CHECK(made(RFCFDG, 0) == 1 && made(RFFDG, 0) == 0);
}

const struct test_case pdwait_cases[] = {
	{"pdwait, arguments", wait_arguments}, {"pdwait, end", wait_end}, {"pdwait, changes", wait_changes}, {"pdwait, sleeps", wait_sleeps},
#ifndef __SANITIZE_ADDRESS__ /* which does not bear that a stack is unwound so */
	{"pdwait, cancelled", wait_cancelled},
#endif
	{"pdwait, elsewhere", wait_elsewhere}, {"pdwait, rights", wait_rights}, {"pdrfork, refused", fork_refused},
	{"pdrfork, flags", fork_flags}, {NULL, NULL},
};
