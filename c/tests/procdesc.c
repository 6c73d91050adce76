/* Process descriptors, as a program for FreeBSD has them. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/procdesc.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static volatile sig_atomic_t signals;

static void count(int signal)
{
	(void)signal;
	signals++;
}

/* A child that lives until something is written to *tell, and exits with it. */
static pid_t told(int *pd, int flags, int *tell)
{
	int p[2];
	SUCCEEDS(pipe(p));
	pid_t parent = getpid(), pid = pdfork(pd, flags);
	SUCCEEDS(pid);
	if (pid == 0) {
		unsigned char b = 99;
		close(p[1]);
		if (getppid() != parent || getpid() == parent || read(p[0], &b, 1) != 1)
			_exit(98);
		_exit(b);
	}
	close(p[0]);
	*tell = p[1];
	return pid;
}

static void tell(int to, char what)
{
	CHECK(write(to, &what, 1) == 1);
}

/* Whether a process lives; its helper collects it. */
static int lives(pid_t pid)
{
	usleep(50000);
	return kill(pid, 0) == 0;
}

static void dies(pid_t pid)
{
	for (int i = 0; i < 6000 && kill(pid, 0) == 0; i++)
		usleep(10000);
	FAILS(kill(pid, 0), ESRCH);
}

static short hung(int pd, int milliseconds)
{
	struct pollfd p = {pd, 0, 0};
	SUCCEEDS(poll(&p, 1, milliseconds));
	return p.revents;
}

static void pd_simple(void)
{
	int pd = -1, to, status = -1, pair[2];
	struct rusage ru;
	struct stat st;
	pid_t got = -1, pid;
	time_t before = time(NULL);
	FAILS(pdfork(&pd, 0x1000), EINVAL);
	FAILS(pdfork(NULL, 0), EFAULT);
	signal(SIGCHLD, count);
	for (int flags = 0; flags <= PD_ALLOWED_AT_FORK; flags++) {
		pid = told(&pd, flags, &to);
		CHECK((fcntl(pd, F_GETFD) == FD_CLOEXEC) == (flags & PD_CLOEXEC ? 1 : 0));
		SUCCEEDS(pdgetpid(pd, &got));
		CHECK(got == pid);
		SUCCEEDS(fstat(pd, &st));
		CHECK(st.st_mode == (S_IFREG | 0700) && st.st_uid == getuid() && st.st_size == 0 && st.st_nlink == 0);
		CHECK(st.st_mtime >= before - 1 && st.st_mtime <= time(NULL) && st.st_ctime == st.st_mtime && st.st_atime == st.st_mtime);
		CHECK(hung(pd, 0) == 0);
		CHECK(pdwait4(pd, &status, WNOHANG, NULL) == 0);
		SUCCEEDS(pdkill(pd, 0));
		FAILS(pdkill(pd, 65), EINVAL);
		FAILS(waitpid(-1, &status, WNOHANG), ECHILD);
		tell(to, 7);
		CHECK(hung(pd, 60000) == POLLHUP);
		SUCCEEDS(fstat(pd, &st));
		CHECK(st.st_mode == S_IFREG);
		FAILS(waitpid(-1, &status, WNOHANG), ECHILD);
		SUCCEEDS(pdkill(pd, SIGTERM));
		memset(&ru, 0, sizeof ru);
		CHECK(pdwait4(pd, &status, 0, &ru) == pid);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7 && ru.ru_minflt > 0);
		FAILS(pdwait4(pd, &status, 0, NULL), ECHILD);
		FAILS(pdkill(pd, SIGTERM), ESRCH);
		SUCCEEDS(pdgetpid(pd, &got));
		CHECK(got == pid && hung(pd, 0) == POLLHUP);
		SUCCEEDS(fstat(pd, &st));
		CHECK(st.st_mode == S_IFREG);
		SUCCEEDS(close(pd));
		SUCCEEDS(close(to));
	}
	CHECK(signals == 0);
	FAILS(pdgetpid(pd, &got), EBADF);
	/* Another socket of that mode is none. */
	SUCCEEDS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	SUCCEEDS(fchmod(pair[0], 0700));
	SUCCEEDS(fstat(pair[0], &st));
	CHECK(st.st_mode == (S_IFSOCK | 0700) && st.st_nlink == 1);
	FAILS(pdkill(scratch(), 0), EBADF);
	FAILS(pdwait4(scratch(), &status, 0, NULL), EBADF);
}

static void pd_wait_pid(void)
{
	int pd, to, status;
	pid_t pid = told(&pd, 0, &to);
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	tell(to, 9);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
	FAILS(waitpid(pid, &status, 0), ECHILD);
	FAILS(pdwait4(pd, &status, 0, NULL), ECHILD);
	/* An ordinary child is another matter. */
	pid_t other = fork();
	SUCCEEDS(other);
	if (other == 0)
		_exit(3);
	CHECK(waitpid(-1, &status, 0) == other && WEXITSTATUS(status) == 3);
}

/* How many pages this process has mapped; 0 where nobody tells, as in a run without /proc. */
static long mapped(void)
{
	long n = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f)
		return 0;
	CHECK(fscanf(f, "%ld", &n) == 1);
	fclose(f);
	return n;
}

/* Whatever wakes who polls, the child has ended and can be waited for, and POLLHUP comes too. */
static void pd_polled(void)
{
	for (int i = 0; i < 100; i++) {
		int pd, status = -1;
		pid_t pid = pdfork(&pd, 0);
		SUCCEEDS(pid);
		if (pid == 0)
			_exit(2);
		struct pollfd p = {pd, i % 2 ? POLLIN : 0, 0};
		CHECK(poll(&p, 1, 60000) == 1 && p.revents != 0 && (p.revents & ~(p.events | POLLHUP)) == 0);
		CHECK(pdwait4(pd, &status, WNOHANG, NULL) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 2);
		CHECK(hung(pd, 60000) == POLLHUP);
		close(pd);
	}
}

/* A child that has ended. */
static pid_t ended(int *pd, int status)
{
	pid_t pid = pdfork(pd, 0);
	SUCCEEDS(pid);
	if (pid == 0)
		_exit(status);
	CHECK(hung(*pd, 60000) == POLLHUP);
	return pid;
}

/* Later children change nothing for one that has ended and was not waited for. */
static void pd_wait_late(void)
{
	enum { MANY = 100 };
	int pd[MANY], other, status;
	pid_t pid[MANY];
	for (int i = 0; i < MANY; i++)
		pid[i] = ended(&pd[i], i);
	/* A limit is none of the wait, which may leave no look at the descriptor. */
	if (!alone)
		SUCCEEDS(limit(pd[1], CAP_PDWAIT, CAP_PDGETPID, 0ULL));
	for (int i = 0; i < MANY; i++)
		SUCCEEDS(close((ended(&other, 0), other)));
	for (int i = 0; i < MANY; i++) {
		if (i % 2)
			CHECK(waitpid(pid[i], &status, i % 3 ? WNOHANG : 0) == pid[i]);
		else
			CHECK(pdwait4(pd[i], &status, 0, NULL) == pid[i]);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == i);
		FAILS(waitpid(pid[i], &status, 0), ECHILD);
		FAILS(pdwait4(pd[i], &status, 0, NULL), ECHILD);
	}
}

/* Nothing stays of a child whose descriptor was closed, and little of one that was waited for. */
static void pd_nothing_stays(void)
{
	int pd, status, kept = open("/dev/null", O_RDONLY);
	for (int i = 0; i < 50; i++)
		SUCCEEDS(close((ended(&pd, 0), pd)));
	long before = mapped();
	for (int i = 0; i < 400; i++) {
		pid_t pid = ended(&pd, 0);
		if (i % 4 == 1)
			CHECK(pdwait4(pd, &status, 0, NULL) == pid);
		if (i % 4 == 2)
			SUCCEEDS(dup2(kept, pd)); /* the number is another file's */
		if (i % 4 == 3 || i % 4 == 0)
			SUCCEEDS(close(pd));
	}
	CHECK(mapped() - before < 100);
}

/* A caller that does not hear of its children is told how these end; the child has its actions. */
static void pd_deaf(void)
{
	struct sigaction deaf[2], now;
	memset(deaf, 0, sizeof deaf);
	deaf[0].sa_handler = SIG_IGN;
	deaf[1].sa_handler = count;
	deaf[1].sa_flags = SA_NOCLDWAIT | SA_RESTART;
	for (int i = 0; i < 2; i++) {
		int pd, to, status = -1;
		siginfo_t info;
		SUCCEEDS(sigaction(SIGCHLD, &deaf[i], NULL));
		pid_t pid = pdfork(&pd, 0);
		SUCCEEDS(pid);
		if (pid == 0)
			_exit(sigaction(SIGCHLD, NULL, &now) == 0 && now.sa_handler == deaf[i].sa_handler &&
			      (now.sa_flags & SA_NOCLDWAIT) == (deaf[i].sa_flags & SA_NOCLDWAIT) && sigprocmask(0, NULL, &now.sa_mask) == 0 &&
			      !sigismember(&now.sa_mask, SIGCHLD) ? 3 : 4);
		CHECK(hung(pd, 60000) == POLLHUP);
		CHECK(pdwait4(pd, &status, 0, NULL) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 3);
		close(pd);
		pid = told(&pd, PD_DAEMON, &to);
		SUCCEEDS(pdkill(pd, SIGTERM));
		SUCCEEDS(pdwait(pd, &status, WEXITED, NULL, &info));
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM && info.si_code == CLD_KILLED && info.si_pid == pid);
		close(pd);
		pid = told(&pd, 0, &to);
		tell(to, 5);
		CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 5);
		SUCCEEDS(sigaction(SIGCHLD, NULL, &now));
		CHECK(now.sa_handler == deaf[i].sa_handler && (now.sa_flags & SA_NOCLDWAIT) == (deaf[i].sa_flags & SA_NOCLDWAIT));
		close(pd);
	}
	CHECK(signals == 0);
}

/* An end that the helper does not get to know is no success. */
static void pd_unknown_end(void)
{
	int pd, status;
	signal(SIGCHLD, SIG_IGN);
	refuse(SYS_rt_sigaction, EPERM);
	pid_t pid = pdfork(&pd, 0);
	SUCCEEDS(pid);
	if (pid == 0)
		_exit(3);
	CHECK(hung(pd, 60000) == POLLHUP);
	FAILS(pdwait4(pd, &status, 0, NULL), ECHILD);
}

static void pd_close(void)
{
	int pd, to, pair[2];
	pid_t pid = told(&pd, 0, &to);
	int other = dup(pd);
	close(pd);
	CHECK(lives(pid));
	SUCCEEDS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid_t holder = fork();
	SUCCEEDS(holder);
	if (holder == 0) {
		pause();
		_exit(0);
	}
	close(other);
	CHECK(lives(pid));
	SUCCEEDS(kill(holder, SIGKILL));
	dies(pid);
	CHECK(waitpid(holder, NULL, 0) == holder);
	FAILS(waitpid(pid, NULL, WNOHANG), ECHILD);

	pid = told(&pd, PD_DAEMON, &to);
	close(pd);
	CHECK(lives(pid));
	tell(to, 1);
	dies(pid);
}

static void *nothing(void *arg)
{
	return arg;
}

/* The child is a process like others: memory, threads, children of its own. */
static void pd_child(void)
{
	int pd, status, first = dup(0);
	SUCCEEDS(close(first)); /* the lowest free number, as it is afterwards */
	for (int round = 0; round < 20; round++) {
		char *before = malloc(1000);
		strcpy(before, "before");
		pid_t pid = pdfork(&pd, 0);
		SUCCEEDS(pid);
		if (pid == 0) {
			pthread_t t;
			char *after = malloc(100000);
			int mine, s;
			if (strcmp(before, "before") != 0 || !after || pthread_create(&t, NULL, nothing, NULL) != 0 || pthread_join(t, NULL) != 0)
				_exit(1);
			pid_t own = pdfork(&mine, 0);
			if (own == 0)
				_exit(5);
			if (own < 0 || pdwait4(mine, &s, 0, NULL) != own || WEXITSTATUS(s) != 5)
				_exit(2);
			raise(SIGUSR1); /* by the thread's number, which the library remembers */
			_exit(3);
		}
		CHECK(pdwait4(pd, &status, 0, NULL) == pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
		close(pd);
		free(before);
	}
	CHECK(dup(0) == first);
}

static void *churns(void *arg)
{
	volatile int *stop = arg;
	while (!*stop)
		free(malloc(100));
	return NULL;
}

/* Other threads hold locks all the time. */
static void pd_threads(void)
{
	pthread_t t[2];
	volatile int stop = 0;
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&t[i], NULL, churns, (void *)&stop) == 0);
	for (int i = 0; i < 50; i++) {
		int pd, status;
		pid_t pid = pdfork(&pd, 0);
		SUCCEEDS(pid);
		if (pid == 0) {
			free(malloc(100));
			_exit(0);
		}
		CHECK(pdwait4(pd, &status, 0, NULL) == pid && status == 0);
		close(pd);
	}
	stop = 1;
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

/* In capability mode, with a supervisor; without one, of what was started before. */
static void pd_mode(void)
{
	int pd, to, status;
	pid_t got, pid = told(&pd, 0, &to);
	SUCCEEDS(cap_enter());
	SUCCEEDS(pdgetpid(pd, &got));
	CHECK(got == pid);
	FAILS(kill(pid, SIGKILL), ECAPMODE);
	CHECK(hung(pd, 0) == 0);
	SUCCEEDS(pdkill(pd, SIGKILL));
	CHECK(hung(pd, 60000) == POLLHUP);
	CHECK(pdwait4(pd, &status, 0, NULL) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	if (alone) {
		CHECK(pdfork(&pd, 0) < 0);
		return;
	}
	for (int flags = 0; flags <= PD_DAEMON; flags++) {
		pid = pdfork(&pd, flags);
		SUCCEEDS(pid);
		if (pid == 0)
			_exit(cap_sandboxed() && open("/etc/passwd", O_RDONLY) < 0 && errno == ECAPMODE ? 4 : 5);
		CHECK(pdwait4(pd, &status, 0, NULL) == pid);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 4);
	}
}

static void pd_rights(void)
{
	static const struct { uint64_t all, own; } rights[] = {{CAP_PDGETPID, 0}, {CAP_PDKILL, 1}, {CAP_PDWAIT, 2}};
	int pd[3], to[3], status;
	pid_t pid[3], got;
	for (int i = 0; i < 3; i++)
		pid[i] = told(&pd[i], 0, &to[i]);
	for (int i = 0; i < 3; i++)
		SUCCEEDS(limit(pd[i], rights[i].all, i == 2 ? CAP_EVENT : CAP_FSTAT, CAP_EVENT, CAP_READ, CAP_GETSOCKOPT, CAP_SHUTDOWN, 0ULL));
	for (int i = 0; i < 3; i++) {
		struct ucred cred;
		socklen_t size = sizeof cred;
		int no[3] = {pdgetpid(pd[i], &got), pdkill(pd[i], 0), pdwait4(pd[i], &status, WNOHANG, NULL)};
		for (int j = 0; j < 3; j++)
			CHECK(i == j && !alone ? no[j] == 0 : i == j || no[j] == -1);
		FAILS(pdkill(pd[i == 1 ? 0 : i], 0), ENOTCAPABLE);
		CHECK(read(pd[i], &status, 1) < 0 && errno == ENOTCAPABLE);
		CHECK(shutdown(pd[i], SHUT_WR) < 0 && errno == ENOTCAPABLE);
		CHECK(getsockopt(pd[i], SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0 && errno == ENOTCAPABLE);
		CHECK(hung(pd[i], 0) == 0);
		struct stat st;
		if (i == 2) {
			FAILS(fstat(pd[i], &st), ENOTCAPABLE);
			continue;
		}
		SUCCEEDS(fstat(pd[i], &st));
		CHECK(st.st_mode == ((alone ? S_IFSOCK : S_IFREG) | 0700));
	}
	if (!alone)
		CHECK(lives(pid[0]) && lives(pid[1]) && lives(pid[2]));
	close(pd[2]); /* younger ones have copies of the others */
	dies(pid[2]);
}

/* Where no process can be made nothing is left of the attempt, and other children are nobody's business. */
static void pd_no_process(void)
{
	int pd = -1, status;
	pid_t other = fork();
	SUCCEEDS(other);
	if (other == 0)
		_exit(6);
	refuse(SYS_clone, EAGAIN);
	FAILS(pdfork(&pd, 0), EAGAIN);
	long before = mapped();
	for (int i = 0; i < 100; i++)
		FAILS(pdfork(&pd, 0), EAGAIN);
	CHECK(mapped() - before < 100);
	CHECK(waitpid(other, &status, 0) == other && WEXITSTATUS(status) == 6);
}

/* Whether whoever has the other end of a pipe ends soon. */
static int ends(int from)
{
	struct pollfd p = {from, POLLIN, 0};
	return poll(&p, 1, 60000) == 1 && p.revents == POLLHUP;
}

/* The child lives as long as nobody writes to the pipe. */
static pid_t piped(int *pd, int flags, int p[2])
{
	SUCCEEDS(pipe(p));
	pid_t pid = pdfork(pd, flags);
	if (pid == 0) {
		alarm(240);
		pause();
		_exit(0);
	}
	close(p[1]);
	return pid;
}

/* A helper that can't be confined is none, and a child without one is no child, daemon or not. */
static void pd_no_filter(void)
{
	int pd = -1, p[2], next = dup(0);
	SUCCEEDS(close(next));
	refuse(SYS_seccomp, EPERM);
	for (int flags = 0; flags <= PD_DAEMON; flags++) {
		FAILS(piped(&pd, flags, p), EPERM);
		CHECK(ends(p[0]) && pd == -1);
		SUCCEEDS(close(p[0]));
	}
	CHECK(dup(0) == next);
}

static int kills;

static void kill_helper(void)
{
	if (!kills)
		return;
	pid_t helper = (pid_t)syscall(SYS_getppid);
	usleep(50000); /* it waits for the descriptor meanwhile */
	SUCCEEDS(kill(helper, SIGKILL));
	while (syscall(SYS_getppid) == helper)
		usleep(1000);
}

/* A child whose helper was killed before the kernel knew that this is its end too. */
static void pd_killed_helper(void)
{
	int pd = -1, p[2];
	CHECK(pthread_atfork(NULL, NULL, kill_helper) == 0);
	kills = 1;
	for (int flags = 0; flags <= PD_DAEMON; flags++) {
		FAILS(piped(&pd, flags, p), ECHILD);
		CHECK(ends(p[0]) && pd == -1);
		SUCCEEDS(close(p[0]));
	}
}

const struct test_case procdesc_cases[] = {
	{"pdfork", pd_simple}, {"pdfork, waitpid", pd_wait_pid}, {"pdfork, late wait", pd_wait_late},
	{"pdfork, polled", pd_polled}, {"pdfork, nothing stays", pd_nothing_stays}, {"pdfork, deaf caller", pd_deaf},
	{"pdfork, unknown end", pd_unknown_end}, {"pdfork, close", pd_close}, {"pdfork, child", pd_child},
	{"pdfork, threads", pd_threads}, {"pdfork, capability mode", pd_mode}, {"pdfork, rights", pd_rights},
	{"pdfork, no process", pd_no_process}, {"pdfork, no filter", pd_no_filter}, {"pdfork, killed helper", pd_killed_helper}, {NULL, NULL},
};
