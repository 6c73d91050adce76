/* The C library's streams. */
#define _GNU_SOURCE
#include <poll.h>
#include <sys/ioctl.h>

#include "check.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

/* Makes stdout a terminal, of which it returns the other side; -1 where there are none. */
static int terminal(void)
{
	int off = 0, other = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), fd;
	if (other < 0)
		return -1;
	SUCCEEDS(ioctl(other, TIOCSPTLCK, &off));
	SUCCEEDS(fd = ioctl(other, TIOCGPTPEER, O_RDWR | O_NOCTTY));
	SUCCEEDS(dup2(fd, STDOUT_FILENO));
	SUCCEEDS(close(fd));
	return other;
}

/* Whether a line comes to the terminal when it is written. */
static void comes(int other)
{
	struct pollfd p = {.fd = other, .events = POLLIN};
	char line[100];
	CHECK(printf("line\n") == 5);
	CHECK(poll(&p, 1, 0) == 1);
	CHECK(read(other, line, sizeof line) == 6 && memcmp(line, "line\r\n", 6) == 0);
}

static void lines_entered(void)
{
	int other = terminal();
	if (other < 0)
		return;
	errno = 77;
	SUCCEEDS(cap_enter());
	CHECK(errno == 77);
	comes(other);
}

static void lines_limited(void)
{
	int other = terminal();
	if (other < 0)
		return;
	errno = 77;
	SUCCEEDS(caph_limit_stdio());
	CHECK(errno == 77);
	comes(other);
	SUCCEEDS(caph_enter());
	comes(other);
}

static void lines_fcntls(void)
{
	int other = terminal();
	if (other < 0)
		return;
	SUCCEEDS(cap_fcntls_limit(STDOUT_FILENO, CAP_FCNTL_GETFL));
	comes(other);
}

/* Who has asked for whole blocks gets them, and a file always does. */
static void blocks(void)
{
	static char room[4096];
	struct pollfd p = {.events = POLLIN};
	p.fd = terminal();
	if (p.fd >= 0) {
		CHECK(setvbuf(stdout, room, _IOFBF, sizeof room) == 0);
		SUCCEEDS(caph_limit_stdio());
		SUCCEEDS(cap_enter());
		CHECK(printf("line\n") == 5);
		CHECK(poll(&p, 1, 0) == 0);
	}
}

static void blocks_to_file(void)
{
	int fd = scratch();
	SUCCEEDS(dup2(fd, STDOUT_FILENO));
	SUCCEEDS(ftruncate(fd, 0));
	SUCCEEDS(caph_limit_stdio());
	SUCCEEDS(cap_enter());
	CHECK(printf("line\n") == 5 && fflush(stdout) == 0); /* musl asks what it is after a line */
	CHECK(printf("line\n") == 5);
	CHECK(lseek(fd, 0, SEEK_END) == 5);
	CHECK(fflush(stdout) == 0);
	CHECK(lseek(fd, 0, SEEK_END) == 10);
}

const struct test_case stream_cases[] = {
	{"lines, entered", lines_entered}, {"lines, limited", lines_limited}, {"lines, fcntls limited", lines_fcntls},
	{"blocks", blocks}, {"blocks to a file", blocks_to_file}, {NULL, NULL},
};
