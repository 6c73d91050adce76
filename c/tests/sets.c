/* cap_rights_init(3): sets of rights. */
#include <sys/wait.h>

#include "check.h"

static void sets(void)
{
	cap_rights_t r, s;
	CHECK(cap_rights_init(&r) == &r);
	CHECK(cap_rights_is_empty(&r) && cap_rights_is_valid(&r));
	CHECK(r.cr_rights[0] == 0x0200000000000000 && r.cr_rights[1] == 0x0400000000000000);
	CHECK(cap_rights_is_set(&r, 0));
	CHECK(cap_rights_init(&r, CAP_READ, CAP_EVENT, CAP_IOCTL) == &r);
	CHECK(!cap_rights_is_empty(&r));
	CHECK(r.cr_rights[0] == 0x0200000000000001 && r.cr_rights[1] == 0x04000000000000a0);
	CHECK(cap_rights_is_set(&r, CAP_READ, CAP_EVENT));
	CHECK(!cap_rights_is_set(&r, CAP_READ, CAP_WRITE));
	CHECK(!cap_rights_is_set(&r, CAP_PREAD)); /* half of it */
	CHECK(cap_rights_set(&r, CAP_SEEK) == &r && cap_rights_is_set(&r, CAP_PREAD));
	CHECK(cap_rights_clear(&r, CAP_PREAD) == &r && !cap_rights_is_set(&r, CAP_READ));
	CHECK(!cap_rights_is_set(&r, CAP_SEEK_TELL) && cap_rights_is_set(&r, CAP_IOCTL));

	cap_rights_init(&s, CAP_IOCTL, CAP_WRITE);
	CHECK(!cap_rights_contains(&r, &s) && cap_rights_contains(&r, &r));
	CHECK(cap_rights_merge(&r, &s) == &r && cap_rights_contains(&r, &s));
	CHECK(cap_rights_is_set(&r, CAP_EVENT, CAP_WRITE));
	CHECK(cap_rights_remove(&r, &s) == &r && !cap_rights_is_set(&r, CAP_WRITE) && cap_rights_is_set(&r, CAP_EVENT));
	cap_rights_init(&s, CAP_EVENT, CAP_READ);
	cap_rights_set(&r, CAP_FSTAT);
	CHECK(cap_rights_intersect(&r, &s) == &r && cap_rights_is_set(&r, CAP_EVENT) && !cap_rights_is_set(&r, CAP_FSTAT));
	cap_rights_init(&r, 0); /* as for the Linux port */
	CHECK(cap_rights_is_empty(&r));
	CAP_ALL(&r);
	CHECK(cap_rights_is_valid(&r) && cap_rights_is_set(&r, CAP_SOCK_SERVER, CAP_KQUEUE, CAP_MMAP_RWX));
	CHECK(CAPARSIZE(&r) == 2 && CAPVER(&r) == 0 && CAPIDXBIT(CAP_EVENT) == 2 && CAPIDXBIT(CAP_READ) == 1);
	r.cr_rights[0] |= 1ULL << 56;
	CHECK(!cap_rights_is_valid(&r));
	CAP_NONE(&r);
	r.cr_rights[1] |= 1ULL << 57;
	CHECK(!cap_rights_is_valid(&r));
}

/* The functions behind the macros, for who calls them by name. */
static void functions(void)
{
	cap_rights_t r;
	CHECK((cap_rights_init)(&r, CAP_READ, CAP_EVENT, 0ULL) == &r);
	CHECK((cap_rights_is_set)(&r, CAP_READ, CAP_EVENT, 0ULL) && !(cap_rights_is_set)(&r, CAP_WRITE, 0ULL));
	CHECK((cap_rights_set)(&r, CAP_WRITE, 0ULL) == &r && (cap_rights_is_set)(&r, CAP_WRITE, 0ULL));
	CHECK((cap_rights_clear)(&r, CAP_WRITE, 0ULL) == &r && !(cap_rights_is_set)(&r, CAP_WRITE, 0ULL));
}

static cap_rights_t broken;

static void mixes(void)
{
	cap_rights_set(&broken, CAP_READ | CAP_EVENT);
}

static void no_set(void)
{
	memset(&broken, 0, sizeof broken);
	cap_rights_set(&broken, CAP_READ);
}

/* Mistakes in a program end it. */
static void aborts(void)
{
	void (*const mistakes[])(void) = {mixes, no_set};
	for (int i = 0; i < 2; i++) {
		int status;
		pid_t pid = fork();
		SUCCEEDS(pid);
		if (pid == 0) {
			cap_rights_init(&broken);
			mistakes[i]();
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == 6);
	}
}

static void words(void)
{
	CHECK(strcmp(capsicum_strerror(ECAPMODE), "Not permitted in capability mode") == 0);
	CHECK(strcmp(capsicum_strerror(ENOTCAPABLE), "Capabilities insufficient") == 0);
	CHECK(strcmp(capsicum_strerror(ENOENT), strerror(ENOENT)) == 0);
	CHECK(ECAPMODE == 134 && ENOTCAPABLE == 135);
}

const struct test_case set_cases[] = {
	{"sets", sets}, {"functions", functions}, {"aborts", aborts}, {"words", words}, {NULL, NULL},
};
