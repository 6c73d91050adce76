/* Anonymous shared memory, as a program for FreeBSD makes it. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE 8192

static int object(void)
{
	int fd = shm_open(SHM_ANON, O_RDWR, 0600);
	SUCCEEDS(fd);
	SUCCEEDS(ftruncate(fd, SIZE));
	return fd;
}

/* What shm_open(2) says of it. */
static void anonymous(void)
{
	struct stat st;
	umask(022);
	FAILS(shm_open(SHM_ANON, O_RDONLY, 0600), EINVAL);
	FAILS(shm_open(SHM_ANON, O_WRONLY, 0600), EINVAL);
	FAILS(shm_open(SHM_ANON, O_RDWR | O_APPEND, 0600), EINVAL);
	for (int i = 0; i < 2; i++) {
		int fd = shm_open(SHM_ANON, O_RDWR | O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC, i ? 0777 : 0666);
		SUCCEEDS(fd);
		SUCCEEDS(fstat(fd, &st));
		CHECK(st.st_size == 0 && st.st_mode == (S_IFREG | (i ? 0755u : 0644u)) && st.st_nlink == 0);
		CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
		CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0 && errno == EPERM);
		SUCCEEDS(fchmod(fd, 0600));
		SUCCEEDS(ftruncate(fd, SIZE));
		char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		CHECK(p != MAP_FAILED && p[0] == 0 && p[SIZE - 1] == 0);
		close(fd);
		p[1] = 1;
		SUCCEEDS(munmap(p, SIZE));
	}
	CHECK(umask(022) == 022);
}

static void powerless(void *arg)
{
	int fd = *(int *)arg;
	char b;
	char *p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED && p[7] == 42);
	CHECK(mprotect(p, SIZE, PROT_READ | PROT_WRITE) < 0);
	CHECK(read(fd, &b, 1) == 1);
	CHECK(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ENOTCAPABLE);
	CHECK(mmap(NULL, SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ENOTCAPABLE);
	FAILS(ftruncate(fd, SIZE * 2), ENOTCAPABLE);
	FAILS(write(fd, "x", 1), ENOTCAPABLE);
	FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), ENOTCAPABLE);
	FAILS(limit(fd, CAP_READ, CAP_MMAP_RW, 0ULL), ENOTCAPABLE);
}

/* The idiom: others get a copy that can only be mapped to read. */
static void shm_reader(void)
{
	int fd = object(), reader = dup(fd);
	SUCCEEDS(reader);
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	p[7] = 42;
	SUCCEEDS(limit(reader, CAP_READ, CAP_MMAP_R, 0ULL));
	powerless(&reader);
	in_child(powerless, &reader);
	SUCCEEDS(cap_enter());
	powerless(&reader);
	in_child(powerless, &reader);
	char path[40];
	snprintf(path, sizeof path, "/proc/self/fd/%d", reader);
	FAILS(open(path, O_RDWR), ECAPMODE);
	SUCCEEDS(ftruncate(fd, SIZE * 2));
}

/* In capability mode objects have no names, whether they exist or not. */
static void shm_mode(void)
{
	char name[40];
	snprintf(name, sizeof name, "/capsicum-test-%d", getpid());
	int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	SUCCEEDS(fd);
	SUCCEEDS(shm_unlink(name));
	FAILS(shm_open(name, O_RDWR, 0600), ENOENT);
	SUCCEEDS(cap_enter());
	FAILS(shm_open(name, O_RDWR, 0600), ECAPMODE);
	FAILS(shm_open("/", O_RDONLY | O_APPEND, 0600), ECAPMODE);
	FAILS(shm_unlink(name), ECAPMODE);
	fd = object();
	CHECK(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
}

const struct test_case shm_cases[] = {
	{"anonymous memory", anonymous}, {"reader of memory", shm_reader}, {"memory in the mode", shm_mode}, {NULL, NULL},
};
