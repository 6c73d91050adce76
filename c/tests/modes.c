/* Capability mode. */
#define _GNU_SOURCE
#include <elf.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

static int try_connect(int s)
{
	struct sockaddr_in to;
	memset(&to, 0, sizeof to);
	to.sin_family = AF_INET;
	to.sin_port = htons(9);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return connect(s, (struct sockaddr *)&to, sizeof to);
}

static void enter(void)
{
	unsigned int mode = 9;
	struct stat st;
	char cwd[4096];
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), fd = scratch(), n;
	SUCCEEDS(s);
	SUCCEEDS(cap_getmode(&mode));
	CHECK(mode == 0 && !cap_sandboxed());
	SUCCEEDS(n = open("/etc/passwd", O_RDONLY));
	close(n);
	SUCCEEDS(stat("/etc/passwd", &st));
	SUCCEEDS(try_connect(s));
	SUCCEEDS(kill(getppid(), 0) < 0 && errno == EPERM ? 0 : 0);
	CHECK(getcwd(cwd, sizeof cwd));
	errno = 77;
	CHECK(cap_enter() == 0 && errno == 77);
	SUCCEEDS(cap_getmode(&mode));
	CHECK(mode == 1 && cap_sandboxed());
	FAILS(open("/etc/passwd", O_RDONLY), ECAPMODE);
	FAILS(open("etc", O_RDONLY), ECAPMODE);
	FAILS(stat("/etc/passwd", &st), ECAPMODE);
	FAILS(try_connect(s), ECAPMODE);
	FAILS(kill(getppid(), 0), ECAPMODE);
	FAILS(chdir("/"), ECAPMODE);
	CHECK(read(fd, cwd, 1) == 1); /* held descriptors go on */
	SUCCEEDS(fstat(fd, &st));
	SUCCEEDS(cap_enter()); /* again */
	SUCCEEDS(caph_enter());
	SUCCEEDS(limit(fd, CAP_READ, 0ULL)); /* limits go on too */
	CHECK(read(fd, cwd, 1) == 1);
	FAILS(fstat(fd, &st), ENOTCAPABLE);
}

/* Names beneath a directory take someone to ask. */
static void beneath_in(void *dir)
{
	int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;
	SUCCEEDS(d);
	SUCCEEDS(fd = openat(d, "inside", O_CREAT | O_RDWR, 0600));
	close(fd);
	SUCCEEDS(fd = openat(d, "../", O_RDONLY));
	close(fd);
	SUCCEEDS(limit(d, CAP_LOOKUP, CAP_READ, CAP_UNLINKAT, 0ULL));
	SUCCEEDS(cap_enter());
	FAILS(openat(d, "../", O_RDONLY), ENOTCAPABLE);
	FAILS(openat(d, "/etc/passwd", O_RDONLY), ENOTCAPABLE);
	if (alone) {
		FAILS(openat(d, "inside", O_RDONLY), ENOTCAPABLE);
		return;
	}
	cap_rights_t r, want;
	SUCCEEDS(fd = openat(d, "inside", O_RDONLY));
	cap_rights_init(&want, CAP_LOOKUP, CAP_READ, CAP_UNLINKAT);
	SUCCEEDS(cap_rights_get(fd, &r));
	CHECK(memcmp(&r, &want, sizeof r) == 0);
	FAILS(openat(d, "inside", O_RDWR), ENOTCAPABLE);
	FAILS(openat(d, "new", O_CREAT | O_RDONLY, 0600), ENOTCAPABLE);
	SUCCEEDS(unlinkat(d, "inside", 0));
}

static void reads_inside(void *d)
{
	int fd;
	SUCCEEDS(fd = openat(*(int *)d, "inside", O_RDONLY));
	SUCCEEDS(close(fd));
}

static void enters_and_reads(void *d)
{
	SUCCEEDS(cap_enter());
	reads_inside(d);
}

static void reads_as_child(void *d)
{
	in_child(reads_inside, d);
}

/*
 * Who answers a child has to look into it, too. In the mode nobody else can be allowed to.
 */
static void children_in(void *dir)
{
	int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;
	SUCCEEDS(fd = openat(d, "inside", O_CREAT | O_RDWR, 0600));
	SUCCEEDS(limit(d, CAP_LOOKUP, CAP_READ, 0ULL));
	int supervisor = supervisor_of(getpid()), parent = getppid();
	in_child(enters_and_reads, &d);
	enters_and_reads(&d);
	in_child(reads_inside, &d);
	in_child(reads_as_child, &d);
	FAILS(prctl(PR_SET_PTRACER, parent), ECAPMODE);
	FAILS(prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY), ECAPMODE);
	FAILS(prctl(PR_SET_PTRACER, 0), ECAPMODE);
	if (supervisor > 0) /* it is not the run's */
		CHECK(prctl(PR_SET_PTRACER, supervisor) == 0 || errno == EINVAL); /* without Yama */
}

static void children_beneath(void)
{
	char dir[] = "/tmp/capsicum-c-XXXXXX", file[40];
	if (alone)
		return;
	CHECK(mkdtemp(dir));
	in_child(children_in, dir);
	snprintf(file, sizeof file, "%s/inside", dir);
	SUCCEEDS(unlink(file));
	SUCCEEDS(rmdir(dir));
}

static void beneath(void)
{
	char dir[] = "/tmp/capsicum-c-XXXXXX", file[40];
	CHECK(mkdtemp(dir));
	in_child(beneath_in, dir);
	snprintf(file, sizeof file, "%s/inside", dir);
	CHECK((unlink(file) == 0) == alone);
	SUCCEEDS(rmdir(dir));
}

/* Children from before go on as they were; children from after are born confined. */
static void inherited(void)
{
	int go[2], status;
	char b;
	SUCCEEDS(pipe2(go, O_CLOEXEC));
	pid_t early = fork();
	SUCCEEDS(early);
	if (early == 0) {
		CHECK(read(go[0], &b, 1) == 1);
		CHECK(!cap_sandboxed());
		SUCCEEDS(open("/etc/passwd", O_RDONLY));
		_exit(0);
	}
	SUCCEEDS(cap_enter());
	pid_t late = fork();
	SUCCEEDS(late);
	if (late == 0) {
		unsigned int mode = 0;
		CHECK(cap_getmode(&mode) == 0 && mode == 1);
		FAILS(open("/etc/passwd", O_RDONLY), ECAPMODE);
		SUCCEEDS(cap_enter());
		int fd = scratch();
		SUCCEEDS(limit(fd, CAP_READ, 0ULL));
		FAILS(write(fd, "x", 1), ENOTCAPABLE);
		_exit(0);
	}
	CHECK(waitpid(late, &status, 0) == late && status == 0);
	CHECK(write(go[1], "x", 1) == 1);
	CHECK(waitpid(early, &status, 0) == early && status == 0);
}

/* Local time stays what it was, also of a program that asks for it only later. */
static void local_time(void)
{
	time_t noon = 1700000000;
	struct tm before, after;
	unsetenv("TZ");
	CHECK(localtime_r(&noon, &before) || 1);
	before = *localtime(&noon);
	SUCCEEDS(cap_enter());
	after = *localtime(&noon);
	CHECK(before.tm_gmtoff == after.tm_gmtoff && before.tm_hour == after.tm_hour);
	CHECK(strcmp(before.tm_zone, after.tm_zone) == 0);
	after = *localtime(&noon);
	CHECK(before.tm_hour == after.tm_hour);
}

static void time_zone_data(void)
{
	unsetenv("TZ");
	caph_cache_tzdata();
	SUCCEEDS(cap_enter());
	CHECK(getenv("TZ"));
	time_t noon = 1700000000;
	CHECK(localtime(&noon));
}

static void zone_kept(void *name)
{
	time_t noon = 1700000000;
	setenv("TZ", name, 1);
	SUCCEEDS(cap_enter());
	struct tm *t = localtime(&noon);
	CHECK(t);
#ifdef __GLIBC__ /* which tells that the program has one thread */
	CHECK(t->tm_gmtoff == 9000 && strcmp(t->tm_zone, "ABC") == 0);
#endif
}

/* A zone is read from a file too where TZ names one. */
static void named_zone(void)
{
#define TIMES 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0x23, 0x28, 0, 0, 'A', 'B', 'C', 0
#define HEAD 'T', 'Z', 'i', 'f', '2', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
	/* No transitions, one kind of time: two hours and a half from UTC. */
	static const char data[] = {HEAD, TIMES, HEAD, TIMES, '\n', '\n'};
	char name[] = "/tmp/capsicum-c-XXXXXX";
	int fd = mkstemp(name);
	SUCCEEDS(fd);
	CHECK(write(fd, data, sizeof data) == sizeof data);
	in_child(zone_kept, name);
	SUCCEEDS(unlink(name));
}

/* A program without a loader, which exits with 7. */
static int program(void)
{
#ifdef __x86_64__
	static const unsigned char code[] = {0xbf, 7, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05};
	const int machine = EM_X86_64;
#else
	static const unsigned char code[] = {0xe0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4};
	const int machine = EM_AARCH64;
#endif
	struct {
		Elf64_Ehdr head;
		Elf64_Phdr load;
		unsigned char code[sizeof code];
	} file;
	memset(&file, 0, sizeof file);
	memcpy(file.head.e_ident, ELFMAG "\2\1\1", 7);
	file.head.e_type = ET_EXEC;
	file.head.e_machine = (Elf64_Half)machine;
	file.head.e_version = 1;
	file.head.e_entry = 0x400000 + offsetof(__typeof__(file), code);
	file.head.e_phoff = offsetof(__typeof__(file), load);
	file.head.e_ehsize = sizeof file.head;
	file.head.e_phentsize = sizeof file.load;
	file.head.e_phnum = 1;
	file.load = (Elf64_Phdr){PT_LOAD, PF_R | PF_X, 0, 0x400000, 0x400000, sizeof file, sizeof file, 0x1000};
	memcpy(file.code, code, sizeof code);
	char name[] = "/tmp/capsicum-c-XXXXXX";
	int made = mkstemp(name), fd;
	SUCCEEDS(made);
	CHECK(write(made, &file, sizeof file) == sizeof file);
	SUCCEEDS(fchmod(made, 0700));
	SUCCEEDS(fd = open(name, O_RDONLY | O_CLOEXEC));
	SUCCEEDS(close(made));
	SUCCEEDS(unlink(name));
	return fd;
}

/* How a child ends that executes fd: with 7, or an errno. */
static int run(int fd)
{
	char *nothing[] = {NULL}, *argv[] = {(char *)"program", NULL};
	int status;
	pid_t pid = fork();
	SUCCEEDS(pid);
	if (pid == 0) {
		syscall(SYS_execveat, fd, "", argv, nothing, AT_EMPTY_PATH);
		_exit(errno);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* What is held open is executed, where somebody can see to it that it is that. */
static void execute(void)
{
	int fd = program(), without = program();
	bool landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
	CHECK(run(fd) == 7);
	SUCCEEDS(limit(without, CAP_READ, 0ULL));
	SUCCEEDS(cap_enter());
	int ends = run(fd);
	if (alone)
		CHECK(ends == ECAPMODE || ends == ENOTCAPABLE);
	else
		CHECK(ends == (landlock ? 7 : ECAPMODE));
	ends = run(without);
	CHECK(ends == ENOTCAPABLE || ((alone || !landlock) && ends == ECAPMODE));
	SUCCEEDS(limit(fd, CAP_FEXECVE, 0ULL));
	CHECK((run(fd) == 7) == (!alone && landlock));
}

static void execute_in_container(void)
{
	refuse(SYS_unshare, EPERM);
	execute();
}

static void *rests(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

static void with_thread(void *in_container)
{
	pthread_t t;
	int fd = program();
	if (in_container)
		refuse(SYS_unshare, EPERM);
	CHECK(pthread_create(&t, NULL, rests, NULL) == 0);
	SUCCEEDS(cap_enter());
	int ends = run(fd);
	CHECK(ends == ECAPMODE || (alone && ends == ENOTCAPABLE));
}

static void *ends(void *arg)
{
	pthread_exit(arg);
}

/*
 * A program with threads keeps what its C library loads late: local time, of which only
 * TZ tells where the zone is the universal one, and what the end of a thread takes.
 */
static void kept_with_threads(void)
{
	pthread_t t;
	void *end = NULL;
	int status;
	unsetenv("TZ");
	setenv("CAPSICUM_TEST", "kept", 1);
	CHECK(pthread_create(&t, NULL, rests, NULL) == 0);
	SUCCEEDS(cap_enter());
	CHECK(getenv("TZ") && getenv("PATH") && strcmp(getenv("CAPSICUM_TEST"), "kept") == 0);
#ifdef __SANITIZE_ADDRESS__ /* which asks of a new thread what no filter lets pass */
	if (alone)
		return;
#endif
	CHECK(pthread_create(&t, NULL, ends, &status) == 0);
	CHECK(pthread_join(t, &end) == 0 && end == &status);
}

static void enter_and_look(void *known)
{
	SUCCEEDS(cap_enter());
	CHECK(!getenv("TZ") == !known);
}

/*
 * The copy of a process with threads takes no lock of the C library's: one of those may
 * have held it.
 */
static void copied(void)
{
	pthread_t t;
	unsetenv("TZ");
#ifdef __GLIBC__ /* which tells that the program has one thread */
	in_child(enter_and_look, &t);
#endif
	CHECK(pthread_create(&t, NULL, rests, NULL) == 0);
	in_child(enter_and_look, NULL);
}

static volatile sig_atomic_t heard;

static void hear(int sig)
{
	heard += sig == SIGUSR1 ? 1 : 100;
}

static void signal_parent(void *arg)
{
	(void)arg;
	FAILS(kill(getppid(), 0), ECAPMODE);
	FAILS(syscall(SYS_tgkill, getppid(), getppid(), SIGUSR1), ECAPMODE);
	heard = 0;
	SUCCEEDS(raise(SIGUSR1));
	CHECK(heard == 1);
}

/* A process signals itself, and nobody else. Without a supervisor that takes Linux 6.15. */
static void signals(void)
{
	const int self = -10001; /* PIDFD_SELF_PROCESS */
	if (alone && syscall(424, self, 0, NULL, 0) != 0) { /* pidfd_send_signal */
		SUCCEEDS(cap_enter());
		FAILS(raise(SIGUSR1), ECAPMODE);
		return;
	}
	signal(SIGUSR1, hear);
	SUCCEEDS(cap_enter());
	SUCCEEDS(kill(getpid(), SIGUSR1));
	CHECK(heard == 1);
	SUCCEEDS(raise(SIGUSR1));
	CHECK(heard == 2);
	FAILS(kill(getpid(), 200), EINVAL);
	FAILS(kill(0, 0), ECAPMODE);
	FAILS(kill(-1, 0), ECAPMODE);
	FAILS(kill(-getpid(), 0), ECAPMODE);
	in_child(signal_parent, NULL);
	CHECK(heard == 2);
}

/* Not by a process with threads: each would have to give up executing by name. */
static void execute_with_threads(void)
{
	int yes;
	in_child(with_thread, NULL);
	in_child(with_thread, &yes);
}

/* Only the supervisor believes in the mode: a program that could not install the filter was there before. */
static void believed(void)
{
	static struct { uint16_t code; uint8_t jt, jf; uint32_t k; } room[4096];
	int fd = scratch();
	if (alone)
		return;
	SUCCEEDS(limit(fd, CAP_READ, 0ULL));
	CHECK(syscall(0x43415, 0x11, 0, room, 0, 0) > 0);
	CHECK(!cap_sandboxed());
	SUCCEEDS(cap_enter());
	CHECK(cap_sandboxed());
	FAILS(open("/etc/passwd", O_RDONLY), ECAPMODE);
}

/* A ring that the kernel polls does what is written into it without a call. */
static void ring(void)
{
	struct {
		uint32_t entries, completions, flags, processor, idle, rest[25];
	} params;
	memset(&params, 0, sizeof params);
	params.flags = 2; /* IORING_SETUP_SQPOLL */
	long r = syscall(SYS_io_uring_setup, 4, &params);
	if (r < 0) { /* in a run, and where the administrator forbids them */
		CHECK(errno == ENOSYS || errno == EPERM);
		return;
	}
	FAILS(limit(0, CAP_READ, 0ULL), EBUSY);
	FAILS(cap_enter(), EBUSY);
	FAILS(caph_enter(), EBUSY);
	CHECK(!cap_sandboxed());
	close((int)r);
	for (int i = 0; i < 6000 && cap_enter() < 0; i++) { /* its thread ends a little later */
		CHECK(errno == EBUSY);
		usleep(10000);
	}
	CHECK(cap_sandboxed());
}

static void with_call_refused(void *call)
{
	int fd = scratch();
	refuse(*(long *)call, EPERM);
	FAILS(limit(fd, CAP_READ, 0ULL), EPERM);
	FAILS(cap_enter(), EPERM);
	CHECK(!cap_sandboxed());
}

/* ENOSYS would be forgiven. */
static void with_call_unknown(void *call)
{
	refuse(*(long *)call, ENOSYS);
	FAILS(caph_enter(), EIO);
	CHECK(!cap_sandboxed());
}

/* Whether there is such a ring can't be looked for. */
static void ring_not_told(void)
{
	long calls[] = {SYS_openat, SYS_getdents64, SYS_read};
	if (access("/proc/self/task", F_OK) < 0 || syscall(0x43415, 0x10, 0, 0, 0, 0) >= 0)
		return; /* in a run, which lets nobody set one up */
	for (int i = 0; i < 3; i++) {
		in_child(with_call_refused, &calls[i]);
		in_child(with_call_unknown, &calls[i]);
	}
}

/* ENOSYS would be forgiven. */
static void with_limits_unknown(void *unused)
{
	(void)unused;
	refuse(SYS_prlimit64, ENOSYS);
	FAILS(caph_enter(), EPERM);
	CHECK(!cap_sandboxed());
}

static void enters_without_core(void *most)
{
	struct rlimit l = *(struct rlimit *)most;
	SUCCEEDS(setrlimit(RLIMIT_CORE, &l));
	SUCCEEDS(cap_enter());
	SUCCEEDS(getrlimit(RLIMIT_CORE, &l));
	CHECK(l.rlim_cur <= 1 && l.rlim_max <= 1);
	FAILS(setrlimit(RLIMIT_CORE, most), ECAPMODE);
	FAILS(prlimit(getpid(), RLIMIT_CORE, most, NULL), ECAPMODE);
	SUCCEEDS(cap_enter());
}

/* The kernel makes core files by a global name: 1 is less than any, and 0 may be all there is. */
static void no_core(void)
{
	struct rlimit most, none = {0, 0};
	SUCCEEDS(getrlimit(RLIMIT_CORE, &most));
	most.rlim_cur = most.rlim_max;
	in_child(enters_without_core, &most);
	in_child(enters_without_core, &none);
	in_child(with_limits_unknown, NULL);
}

const struct test_case mode_cases[] = {
	{"enter", enter}, {"beneath", beneath}, {"children beneath", children_beneath}, {"inherited", inherited}, {"local time", local_time},
	{"time zone data", time_zone_data}, {"named zone", named_zone}, {"execute", execute},
	{"execute in container", execute_in_container}, {"execute with threads", execute_with_threads}, {"believed", believed},
	{"kept with threads", kept_with_threads}, {"copied", copied}, {"signals", signals}, {"ring", ring},
	{"ring not told", ring_not_told}, {"no core", no_core},
	{NULL, NULL},
};
