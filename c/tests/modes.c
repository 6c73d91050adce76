/* Capability mode. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

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

const struct test_case mode_cases[] = {
	{"enter", enter}, {"beneath", beneath}, {"inherited", inherited}, {"local time", local_time},
	{"time zone data", time_zone_data}, {"named zone", named_zone}, {NULL, NULL},
};
