/* Threads, forks, executed programs, and what is left in a process. */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "check.h"

static atomic_int stage, unconfined, confined;

static void *witness(void *arg)
{
	int *fd = arg;
	char b;
	int n = open("/etc/passwd", O_RDONLY);
	if (n >= 0 && read(*fd, &b, 1) == 1)
		unconfined++;
	close(n);
	while (stage == 0)
		usleep(1000);
	if (open("/etc/passwd", O_RDONLY) < 0 && errno == ECAPMODE && read(*fd, &b, 1) < 0 && errno == ENOTCAPABLE)
		confined++;
	return NULL;
}

/* Threads that are there already, blocked or not, are confined too. */
static void threads(void)
{
	pthread_t t[4];
	int fd = scratch();
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, witness, &fd) == 0);
	while (unconfined < 4)
		usleep(1000);
	SUCCEEDS(limit(fd, CAP_WRITE, 0ULL));
	SUCCEEDS(cap_enter());
	stage = 1;
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	CHECK(confined == 4);
}

static void *limiter(void *arg)
{
	char b;
	(void)arg;
	for (int i = 0; i < 8; i++) {
		int fd = scratch();
		SUCCEEDS(limit(fd, CAP_READ, 0ULL));
		CHECK(read(fd, &b, 1) == 1);
		FAILS(write(fd, "x", 1), ENOTCAPABLE);
	}
	return NULL;
}

/* The first call may be made by several at a time. */
static void at_once(void)
{
	pthread_t t[6];
	for (int i = 0; i < 6; i++)
		CHECK(pthread_create(&t[i], NULL, limiter, NULL) == 0);
	for (int i = 0; i < 6; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

static void *restless(void *arg)
{
	cap_rights_t r;
	(void)arg;
	while (stage == 0)
		cap_rights_get(0, &r);
	return NULL;
}

static void child_confines(void *arg)
{
	int fd = *(int *)arg;
	alarm(240); /* a lock that is never given back */
	SUCCEEDS(limit(fd, CAP_READ, 0ULL));
	FAILS(write(fd, "x", 1), ENOTCAPABLE);
	SUCCEEDS(cap_enter());
	FAILS(open("/etc/passwd", O_RDONLY), ECAPMODE);
}

/* A fork while another thread is in a call. */
static void fork_in_call(void)
{
	pthread_t t[2];
	int fd = scratch(), other = scratch();
	SUCCEEDS(limit(other, CAP_READ, 0ULL));
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&t[i], NULL, restless, NULL) == 0);
	for (int i = 0; i < 20; i++)
		in_child(child_confines, &fd);
	stage = 1;
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	CHECK(write(fd, "x", 1) == 1); /* a child's limit is its own */
}

static void first_in_child(void)
{
	int fd = scratch();
	in_child(child_confines, &fd);
	CHECK(write(fd, "x", 1) == 1 && !cap_sandboxed());
}

/* Looks for what a child could answer with in its supervisor's stead. */
static void no_listener(void)
{
	for (int fd = 0; fd < 40; fd++) {
		char path[40], target[100];
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, target, sizeof target - 1);
		target[n > 0 ? n : 0] = 0;
		CHECK(!strstr(target, "seccomp"));
	}
}

static void *forker(void *arg)
{
	(void)arg;
	while (stage == 0) {
		int status;
		pid_t pid = fork();
		SUCCEEDS(pid);
		if (pid == 0) {
			no_listener();
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	return NULL;
}

static void fork_during_first(void *arg)
{
	pthread_t t[3];
	(void)arg;
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&t[i], NULL, forker, NULL) == 0);
	usleep(2000);
	SUCCEEDS(limit(scratch(), CAP_READ, 0ULL));
	usleep(3000);
	stage = 1;
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

/* Forks in other threads while the first call gives this process its filter. */
static void listener(void)
{
	for (int i = 0; i < 20; i++)
		in_child(fork_during_first, NULL);
}

/* A child that shares this process's memory until it ends confines itself alone. */
static void shared_memory(void)
{
	volatile int fd = scratch(), good = 0;
	cap_rights_t r;
	char b;
	pid_t pid = vfork();
	SUCCEEDS(pid);
	if (pid == 0) {
		good = limit(fd, CAP_READ, 0ULL) == 0 && write(fd, "x", 1) < 0 && errno == ENOTCAPABLE && cap_enter() == 0 &&
		    cap_sandboxed();
		_exit(0);
	}
	CHECK(good);
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(!cap_sandboxed() && write(fd, "x", 1) == 1);
	SUCCEEDS(cap_rights_get(fd, &r));
	CHECK(cap_rights_is_set(&r, CAP_WRITE));
	SUCCEEDS(limit(fd, CAP_READ, 0ULL));
	FAILS(write(fd, "x", 1), ENOTCAPABLE);
	CHECK(read(fd, &b, 1) == 1);
	SUCCEEDS(cap_enter());
	FAILS(open("/etc/passwd", O_RDONLY), ECAPMODE);
}

static void *vforker(void *arg)
{
	volatile int fd = scratch(), good = 0, children = 0;
	(void)arg;
	while (stage == 0 || children < 5) {
		pid_t pid = vfork();
		SUCCEEDS(pid);
		if (pid == 0) {
			good = limit(fd, CAP_FSTAT, CAP_WRITE, 0ULL) == 0 && write(fd, "x", 1) == 1 && lseek(fd, 0, SEEK_SET) < 0 &&
			    errno == ENOTCAPABLE;
			_exit(0);
		}
		CHECK(good);
		CHECK(waitpid(pid, NULL, 0) == pid);
		children++;
	}
	return NULL;
}

/* Such children, and calls of other threads in the same memory at the same time. */
static void shared_by_threads(void)
{
	pthread_t t[2];
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&t[i], NULL, vforker, NULL) == 0);
	for (int i = 0; i < 3; i++)
		limiter(NULL);
	stage = 1;
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

static void orphan(pid_t parent, int fd, int report)
{
	cap_ioctl_t got[2] = {0, 0};
	while (getppid() == parent)
		usleep(1000);
	CHECK(cap_ioctls_get(fd, got, 2) == 1 && got[0] == 0x5401);
	SUCCEEDS(cap_ioctls_limit(fd, NULL, 0));
	CHECK(write(report, "x", 1) == 1);
	_exit(0);
}

/* What is remembered is a daemon's too, whose parent ends at once. */
static void daemons(void)
{
	const cap_ioctl_t cmd = 0x5401;
	int p[2], fd = scratch();
	char b;
	SUCCEEDS(cap_ioctls_limit(fd, &cmd, 1));
	SUCCEEDS(pipe2(p, O_CLOEXEC));
	pid_t pid = fork();
	SUCCEEDS(pid);
	if (pid == 0) {
		pid_t parent = getpid(), second = fork();
		SUCCEEDS(second);
		if (second == 0)
			orphan(parent, fd, p[1]);
		_exit(0);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	SUCCEEDS(close(p[1]));
	CHECK(read(p[0], &b, 1) == 1);
	CHECK(cap_ioctls_get(fd, NULL, 0) == 1); /* a child's limit is its own */
}

/* A kernel that cannot keep memory from being copied. */
static void copied_lock(void)
{
	static const char *const cases[] = {"fork in call", "first in child", "listener", "shared memory"};
	struct sock_filter code[] = {
		{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
		{BPF_JMP | BPF_JEQ | BPF_K, 0, 3, SYS_madvise},
		{BPF_LD | BPF_W | BPF_ABS, 0, 0, 32},
		{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 18 /* MADV_WIPEONFORK */},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EINVAL},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
	};
	struct sock_fprog prog = {sizeof code / sizeof code[0], code};
	SUCCEEDS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	SUCCEEDS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int status;
		pid_t pid = fork();
		SUCCEEDS(pid);
		if (pid == 0) {
			execl("/proc/self/exe", "test", cases[i], (char *)NULL);
			_exit(9);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
}

/* ENOSYS, which helpers forgive, is of a kernel that has no filters. */
static void no_filters(void)
{
	int fd = scratch();
	cap_rights_t r;
	cap_rights_init(&r, CAP_READ);
	refuse(SYS_seccomp, ENOSYS);
	FAILS(cap_enter(), ENOSYS);
	FAILS(cap_rights_limit(fd, &r), ENOSYS);
	SUCCEEDS(caph_enter());
	SUCCEEDS(caph_limit_stdio());
	CHECK(!cap_sandboxed());
}

static void forbidden_filters(void)
{
	int fd = scratch();
	cap_rights_t r;
	cap_rights_init(&r, CAP_READ);
	refuse(SYS_seccomp, EPERM);
	FAILS(cap_enter(), EPERM);
	FAILS(caph_enter(), EPERM);
	FAILS(caph_rights_limit(fd, &r), EPERM);
}

/* The other half of executed(): argument 1 is this case, 2 the descriptor. */
static void executed_half(void)
{
	const char *number = getenv("TEST_FD");
	CHECK(number);
	int fd = atoi(number);
	cap_rights_t r;
	cap_ioctl_t cmd = 0x5401;
	uint32_t mask;
	SUCCEEDS(cap_rights_get(fd, &r));
	CHECK(cap_rights_is_set(&r, CAP_READ, CAP_IOCTL, CAP_FCNTL) && !cap_rights_is_set(&r, CAP_WRITE));
	SUCCEEDS(cap_fcntls_get(fd, &mask));
	CHECK(mask == CAP_FCNTL_GETFL);
	FAILS(write(fd, "x", 1), ENOTCAPABLE);
	if (alone)
		FAILS(cap_ioctls_get(fd, NULL, 0), EOPNOTSUPP); /* filters can't tell */
	else
		CHECK(cap_ioctls_get(fd, NULL, 0) == 2);
	CAP_ALL(&r);
	FAILS(cap_rights_limit(fd, &r), ENOTCAPABLE);
	FAILS(cap_ioctls_limit(fd, (const cap_ioctl_t[]){0x9999}, 1), ENOTCAPABLE);
	SUCCEEDS(cap_ioctls_limit(fd, &cmd, 1));
	CHECK(cap_ioctls_get(fd, NULL, 0) == 1);
	SUCCEEDS(cap_enter());
	FAILS(open("/etc/passwd", O_RDONLY), ECAPMODE);
}

static void executed(void)
{
	char number[20];
	int fd = scratch();
	const cap_ioctl_t cmds[] = {0x5401, 0x5413};
	CHECK(write(fd, "x", 1) == 1);
	SUCCEEDS(limit(fd, CAP_READ, CAP_IOCTL, CAP_FCNTL, 0ULL));
	SUCCEEDS(cap_ioctls_limit(fd, cmds, 2));
	SUCCEEDS(cap_fcntls_limit(fd, CAP_FCNTL_GETFL));
	SUCCEEDS(fcntl(fd, F_SETFD, 0));
	snprintf(number, sizeof number, "%d", fd);
	setenv("TEST_FD", number, 1);
	execl("/proc/self/exe", "test", "executed half", (char *)NULL);
	CHECK(!"executed");
}

static int descriptors(void)
{
	int n = 0;
	DIR *dir = opendir("/proc/self/fd");
	CHECK(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static volatile sig_atomic_t signals;

static void count(int signal)
{
	(void)signal;
	signals++;
}

/* Nothing tells the program of its supervisor. */
static void invisible(void)
{
	int before = descriptors(), fd = scratch();
	signal(SIGCHLD, count);
	SUCCEEDS(limit(fd, CAP_READ, 0ULL));
	CHECK((supervisor_of(getpid()) > 0) == !alone);
	CHECK(descriptors() == before + 1);
	FAILS(waitpid(-1, NULL, 0), ECHILD);
	FAILS(waitpid(-1, NULL, __WALL), ECHILD);
	CHECK(signals == 0);
	sigset_t mask;
	CHECK(sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
	for (int i = 1; i < 31; i++)
		CHECK(!sigismember(&mask, i));
}

static void asks(int signal)
{
	int before = errno;
	cap_rights_t r;
	signals += cap_rights_get(0, &r) == 0 && signal == SIGUSR1;
	errno = before;
}

/* Signals that come in all the time, with a handler that makes calls itself. */
static void signalled(void)
{
	struct sigaction a;
	sigset_t mask, after;
	memset(&a, 0, sizeof a);
	a.sa_handler = asks; /* without SA_RESTART */
	SUCCEEDS(sigaction(SIGUSR1, &a, NULL));
	pid_t parent = getpid(), pid = fork();
	SUCCEEDS(pid);
	while (pid == 0) {
		usleep(300);
		if (getppid() != parent || kill(parent, SIGUSR1) < 0)
			_exit(0);
	}
	SUCCEEDS(sigemptyset(&mask));
	SUCCEEDS(sigaddset(&mask, SIGUSR2));
	CHECK(pthread_sigmask(SIG_SETMASK, &mask, NULL) == 0);
	for (int i = 0; i < 10; i++) {
		limiter(NULL);
		if (i == 0)
			SUCCEEDS(cap_enter());
	}
	while (signals < 3)
		CHECK(cap_sandboxed());
	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0);
	for (int i = 1; i < 31; i++)
		CHECK(sigismember(&after, i) == (i == SIGUSR2));
}

/* A program that collects orphans gets its own, and no other. */
static void subreaper(void)
{
	int on = 0;
	SUCCEEDS(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	SUCCEEDS(limit(scratch(), CAP_READ, 0ULL));
	FAILS(waitpid(-1, NULL, __WALL | WNOHANG), ECHILD);
	SUCCEEDS(prctl(PR_GET_CHILD_SUBREAPER, &on, 0, 0, 0));
	CHECK(on == 1);
	pid_t pid = fork();
	SUCCEEDS(pid);
	if (pid == 0)
		_exit(fork() < 0);
	CHECK(wait(NULL) > 0 && wait(NULL) > 0);
	FAILS(wait(NULL), ECHILD);
}

static sigjmp_buf jump;

static void jumps(int signal)
{
	siglongjmp(jump, signal);
}

/* A program that lives on after the fault of a bad pointer. */
static void faults(void)
{
	const cap_ioctl_t cmd = 0x5401;
	int fd = scratch();
	cap_rights_t r;
	void *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(nowhere != MAP_FAILED);
	SUCCEEDS(cap_ioctls_limit(fd, &cmd, 1));
	signal(SIGSEGV, jumps);
	for (volatile int i = 0; i < 6; i++) {
		if (sigsetjmp(jump, 1))
			continue;
		switch (i) {
		case 0: cap_rights_get(fd, nowhere); break;
		case 1: cap_rights_limit(fd, nowhere); break;
		case 2: cap_ioctls_get(fd, nowhere, 1); break;
		case 3: cap_ioctls_limit(fd, nowhere, 1); break;
		case 4: cap_fcntls_get(fd, nowhere); break;
		case 5: cap_getmode(nowhere); break;
		}
		CHECK(!"a fault");
	}
	SUCCEEDS(cap_rights_get(fd, &r));
	SUCCEEDS(limit(fd, CAP_READ, 0ULL));
	SUCCEEDS(cap_enter());
}

/* The first call with few numbers left, and many later ones with none. */
static void few_descriptors(void *number)
{
	struct rlimit l;
	char b;
	int left = *(int *)number, fd = scratch(), other = scratch(), next = scratch();
	SUCCEEDS(getrlimit(RLIMIT_NOFILE, &l));
	l.rlim_cur = (rlim_t)(next + left);
	SUCCEEDS(close(next));
	SUCCEEDS(setrlimit(RLIMIT_NOFILE, &l));
	SUCCEEDS(limit(fd, CAP_READ, 0ULL));
	for (int i = 0; i < left; i++)
		SUCCEEDS(memfd_create("fill", MFD_CLOEXEC));
	FAILS(memfd_create("fill", MFD_CLOEXEC), EMFILE);
	SUCCEEDS(limit(other, CAP_READ, CAP_WRITE, 0ULL));
	SUCCEEDS(cap_enter());
	SUCCEEDS(limit(other, CAP_WRITE, 0ULL));
	CHECK(read(fd, &b, 1) == 1 && write(other, "x", 1) == 1);
	FAILS(write(fd, "x", 1), ENOTCAPABLE);
	FAILS(read(other, &b, 1), ENOTCAPABLE);
	FAILS(open("/", O_RDONLY), ECAPMODE);
	FAILS(memfd_create("fill", MFD_CLOEXEC), EMFILE); /* nothing was lost */
}

static void at_the_limit(void)
{
	for (int left = 0; left < 5; left++)
		in_child(few_descriptors, &left);
}

/* A process whose supervisor is gone is confined: no call says that it could not be. */
static void dead_supervisor(void)
{
	int fd = scratch(), other = scratch();
	cap_rights_t r;
	SUCCEEDS(limit(fd, CAP_READ, 0ULL));
	int supervisor = supervisor_of(getpid());
	CHECK((supervisor > 0) == !alone);
	if (alone)
		return;
	SUCCEEDS(kill(supervisor, SIGKILL));
	for (int i = 0; i < 60000 && kill(supervisor, 0) == 0; i++)
		usleep(1000);
	usleep(20000);
	cap_rights_init(&r, CAP_READ);
	FAILS(cap_getmode(&(unsigned int){0}), EIO);
	CHECK(caph_enter() < 0 && errno != ENOSYS);
	CHECK(caph_rights_limit(other, &r) < 0 && errno != ENOSYS);
	CHECK(write(fd, "x", 1) < 0);
}

/* The filter tells of the mode when nobody else does. */
static void dead_in_mode(void)
{
	int end[2], status;
	unsigned int mode = 9;
	char b;
	SUCCEEDS(pipe2(end, O_CLOEXEC));
	int self = getpid();
	pid_t killer = fork();
	SUCCEEDS(killer);
	if (killer == 0) { /* from before: the mode is not its own */
		CHECK(read(end[0], &b, 1) == 1);
		int supervisor = supervisor_of(self);
		CHECK((supervisor > 0) == !alone);
		SUCCEEDS(alone ? 0 : kill(supervisor, SIGKILL));
		for (int i = 0; i < 60000 && supervisor_of(self) > 0; i++)
			usleep(1000);
		_exit(0);
	}
	SUCCEEDS(cap_enter());
	CHECK(write(end[1], "x", 1) == 1);
	CHECK(waitpid(killer, &status, 0) == killer && status == 0);
	usleep(20000);
	SUCCEEDS(cap_getmode(&mode));
	CHECK(mode == 1 && cap_sandboxed());
	SUCCEEDS(cap_enter()); /* again */
	if (!alone)
		FAILS(dup(end[0]), ENOSYS); /* nobody answers */
}

static int early_result = -1;

__attribute__((constructor)) static void early(void)
{
	if (getenv("TEST_EARLY"))
		early_result = cap_enter();
}

static void constructor(void)
{
	if (!getenv("TEST_EARLY")) {
		setenv("TEST_EARLY", "1", 1);
		execl("/proc/self/exe", "test", "constructor", (char *)NULL);
	}
	CHECK(early_result == 0 && cap_sandboxed());
	FAILS(open("/etc/passwd", O_RDONLY), ECAPMODE);
}

/* The environment says where the program is. */
static void supervisor_by_name(void)
{
	int fd = scratch();
	setenv("CAPSICUM_SUPERVISOR", "/nonexistent", 1);
	SUCCEEDS(limit(fd, CAP_READ, 0ULL));
	CHECK(supervisor_of(getpid()) == 0);
	FAILS(write(fd, "x", 1), ENOTCAPABLE);
}

const struct test_case process_cases[] = {
	{"threads", threads}, {"at once", at_once}, {"fork in call", fork_in_call}, {"first in child", first_in_child},
	{"executed", executed}, {"executed half", executed_half}, {"invisible", invisible},
	{"dead supervisor", dead_supervisor}, {"dead in mode", dead_in_mode}, {"constructor", constructor}, {"supervisor by name", supervisor_by_name},
	{"listener", listener}, {"shared memory", shared_memory}, {"shared by threads", shared_by_threads}, {"daemons", daemons},
	{"copied lock", copied_lock}, {"signalled", signalled}, {"faults", faults},
	{"subreaper", subreaper},
	{"at the limit", at_the_limit},
	{"no filters", no_filters}, {"forbidden filters", forbidden_filters},
	{NULL, NULL},
};
