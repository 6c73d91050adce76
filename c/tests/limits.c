/* Rights, ioctl commands and fcntl commands of descriptors. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>

#include "check.h"

static void limits(void)
{
	cap_rights_t r, got;
	struct stat st;
	char b[4];
	int fd = scratch();
	SUCCEEDS(cap_rights_get(fd, &got));
	CAP_ALL(&r);
	CHECK(memcmp(&r, &got, sizeof r) == 0);
	CHECK(read(fd, b, 2) == 2 && write(fd, b, 2) == 2 && fstat(fd, &st) == 0);
	cap_rights_init(&r, CAP_READ, CAP_IOCTL, CAP_FCNTL);
	errno = 77;
	CHECK(cap_rights_limit(fd, &r) == 0 && errno == 77);
	CHECK(cap_rights_get(fd, &got) == 0 && errno == 77);
	CHECK(memcmp(&r, &got, sizeof r) == 0);
	CHECK(read(fd, b, 2) == 2);
	FAILS(write(fd, b, 2), ENOTCAPABLE);
	FAILS(fstat(fd, &st), ENOTCAPABLE);
	FAILS(lseek(fd, 0, SEEK_SET), ENOTCAPABLE);
	SUCCEEDS(cap_rights_limit(fd, &r)); /* the same */
	cap_rights_set(&r, CAP_WRITE);
	FAILS(cap_rights_limit(fd, &r), ENOTCAPABLE);
	cap_rights_init(&r);
	SUCCEEDS(cap_rights_limit(fd, &r));
	FAILS(read(fd, b, 2), ENOTCAPABLE);
	SUCCEEDS(cap_rights_get(fd, &got));
	CHECK(cap_rights_is_empty(&got));
	SUCCEEDS(close(fd));
}

static void wrong(void)
{
	cap_rights_t r;
	uint32_t mask;
	cap_ioctl_t cmd = FIONREAD;
	int fd = scratch();
	cap_rights_init(&r, CAP_READ);
	FAILS(cap_rights_limit(-1, &r), EBADF);
	FAILS(cap_rights_limit(500, &r), EBADF);
	FAILS(cap_rights_get(500, &r), EBADF);
	FAILS(__cap_rights_get(1, fd, &r), EINVAL);
	FAILS(cap_rights_limit(fd, NULL), EFAULT);
	FAILS(cap_rights_get(fd, NULL), EFAULT);
	FAILS(cap_getmode(NULL), EFAULT);
	FAILS(cap_fcntls_get(fd, NULL), EFAULT);
	FAILS(cap_fcntls_get(500, &mask), EBADF);
	FAILS(cap_fcntls_limit(fd, 1), EINVAL);
	FAILS(cap_fcntls_limit(500, 0), EBADF);
	FAILS(cap_ioctls_limit(fd, NULL, 1), EFAULT);
	FAILS(cap_ioctls_limit(fd, &cmd, 257), EINVAL);
	FAILS(cap_ioctls_limit(500, &cmd, 1), EBADF);
	FAILS(cap_ioctls_get(500, NULL, 0), EBADF);
	cmd = 1ULL << 40;
	FAILS(cap_ioctls_limit(fd, &cmd, 1), EINVAL);
	r.cr_rights[1] = 0;
	FAILS(cap_rights_limit(fd, &r), EINVAL);
	CAP_ALL(&r);
	r.cr_rights[0] |= 1ULL << 50;
	FAILS(cap_rights_limit(-1, &r), EINVAL); /* before the descriptor is looked at */
}

static void ioctls(void)
{
	cap_ioctl_t many[256], got[4];
	int p[2], n, on = 1;
	SUCCEEDS(pipe2(p, O_CLOEXEC));
	SUCCEEDS(ioctl(p[0], FIONREAD, &n));
	SUCCEEDS(ioctl(p[0], FIONBIO, &on));
	CHECK(cap_ioctls_get(p[0], NULL, 0) == CAP_IOCTLS_ALL);
	for (int i = 0; i < 256; i++)
		many[i] = (cap_ioctl_t)(0x8000 + i);
	many[0] = FIONREAD;
	many[1] = FIONBIO;
	SUCCEEDS(cap_ioctls_limit(p[0], many, 256));
	memset(got, 0, sizeof got);
	CHECK(cap_ioctls_get(p[0], got, 3) == 256);
	CHECK(got[0] == FIONREAD && got[2] == 0x8002 && got[3] == 0);
	SUCCEEDS(ioctl(p[0], FIONREAD, &n));
	FAILS(ioctl(p[0], FIOASYNC, &on), ENOTCAPABLE);
	got[0] = FIONREAD;
	SUCCEEDS(cap_ioctls_limit(p[0], got, 1));
	CHECK(cap_ioctls_get(p[0], NULL, 0) == 1);
	SUCCEEDS(ioctl(p[0], FIONREAD, &n));
	FAILS(ioctl(p[0], FIONBIO, &on), ENOTCAPABLE);
	got[1] = FIONREAD;
	FAILS(cap_ioctls_limit(p[0], got, 2), ENOTCAPABLE); /* more than there are */
	got[0] = FIONBIO;
	FAILS(cap_ioctls_limit(p[0], got, 1), ENOTCAPABLE);
	SUCCEEDS(cap_ioctls_limit(p[0], NULL, 0));
	CHECK(cap_ioctls_get(p[0], NULL, 0) == 0);
	FAILS(ioctl(p[0], FIONREAD, &n), ENOTCAPABLE);
	/* A command with its sign. */
	got[0] = (cap_ioctl_t)(long)(int)0x80047476;
	SUCCEEDS(cap_ioctls_limit(p[1], got, 1));
	CHECK(cap_ioctls_get(p[1], got, 1) == 1 && got[0] == 0x80047476);
	/* Without CAP_IOCTL there is none. */
	int fd = scratch();
	SUCCEEDS(limit(fd, CAP_READ, 0ULL));
	CHECK(cap_ioctls_get(fd, NULL, 0) == 0);
}

static void fcntls(void)
{
	uint32_t mask = 0;
	int fd = scratch();
	SUCCEEDS(fcntl(fd, F_GETFL));
	SUCCEEDS(fcntl(fd, F_SETFL, 0));
	SUCCEEDS(cap_fcntls_get(fd, &mask));
	CHECK(mask == CAP_FCNTL_ALL);
	SUCCEEDS(cap_fcntls_limit(fd, CAP_FCNTL_GETFL));
	SUCCEEDS(cap_fcntls_get(fd, &mask));
	CHECK(mask == CAP_FCNTL_GETFL);
	SUCCEEDS(fcntl(fd, F_GETFL));
	SUCCEEDS(fcntl(fd, F_GETFD));
	FAILS(fcntl(fd, F_SETFL, 0), ENOTCAPABLE);
	FAILS(cap_fcntls_limit(fd, CAP_FCNTL_SETFL), ENOTCAPABLE);
	SUCCEEDS(limit(fd, CAP_READ, 0ULL));
	SUCCEEDS(cap_fcntls_get(fd, &mask));
	CHECK(mask == 0);
	FAILS(fcntl(fd, F_GETFL), ENOTCAPABLE);
	CHECK(CAP_FCNTL_GETOWN == 1U << F_GETOWN && CAP_FCNTL_SETOWN == 1U << F_SETOWN);
}

/* What each stream may do, and no more. */
static void streams(void)
{
	cap_rights_t r, want;
	uint32_t mask;
	struct stat st;
	char b[2];
	int in = scratch(), out = scratch();
	SUCCEEDS(dup2(in, 0));
	SUCCEEDS(dup2(out, 1));
	CHECK(write(0, "x", 1) == 1 && read(1, b, 1) == 1);
	SUCCEEDS(caph_limit_stdin());
	SUCCEEDS(caph_limit_stdout());
	CHECK(read(0, b, 1) == 1 && write(1, "x", 1) == 1 && fstat(0, &st) == 0 && lseek(0, 0, SEEK_SET) == 0);
	FAILS(write(0, "x", 1), ENOTCAPABLE);
	FAILS(read(1, b, 1), ENOTCAPABLE);
	cap_rights_init(&want, CAP_EVENT, CAP_FCNTL, CAP_FSTAT, CAP_IOCTL, CAP_SEEK, CAP_READ);
	SUCCEEDS(cap_rights_get(0, &r));
	CHECK(memcmp(&r, &want, sizeof r) == 0);
	SUCCEEDS(cap_fcntls_get(0, &mask));
	CHECK(mask == CAP_FCNTL_GETFL);
	cap_ioctl_t cmds[2];
	CHECK(cap_ioctls_get(0, cmds, 2) == 2 && cmds[0] == TCGETS && cmds[1] == TIOCGWINSZ);
	caph_stream_rights(&r, CAPH_READ | CAPH_WRITE | CAPH_LOOKUP);
	CHECK(cap_rights_is_set(&r, CAP_READ, CAP_WRITE, CAP_LOOKUP));
	SUCCEEDS(caph_limit_stderr());
	SUCCEEDS(caph_limit_stdio()); /* again */
}

static void closed_streams(void)
{
	close(0);
	FAILS(caph_limit_stdin(), EBADF);
	SUCCEEDS(caph_limit_stream(0, CAPH_READ | CAPH_IGNORE_EBADF));
	close(1);
	SUCCEEDS(caph_limit_stdio());
	FAILS(fcntl(0, F_GETFD), EBADF); /* nothing of ours came there */
	FAILS(fcntl(1, F_GETFD), EBADF);
}

static void helpers(void)
{
	cap_rights_t r;
	cap_ioctl_t cmd = FIONREAD;
	int p[2], n;
	SUCCEEDS(pipe2(p, O_CLOEXEC));
	cap_rights_init(&r, CAP_READ, CAP_IOCTL, CAP_FCNTL);
	SUCCEEDS(caph_rights_limit(p[0], &r));
	SUCCEEDS(caph_ioctls_limit(p[0], &cmd, 1));
	SUCCEEDS(caph_fcntls_limit(p[0], CAP_FCNTL_GETFL));
	SUCCEEDS(ioctl(p[0], FIONREAD, &n));
	FAILS(fcntl(p[0], F_SETFL, 0), ENOTCAPABLE);
	FAILS(caph_rights_limit(-1, &r), EBADF);
	FAILS(caph_ioctls_limit(-1, &cmd, 1), EBADF);
	FAILS(caph_fcntls_limit(-1, 0), EBADF);
	caph_cache_catpages();
	CHECK(caph_enter_casper() == 0 && !cap_sandboxed());
	SUCCEEDS(caph_enter());
	CHECK(cap_sandboxed());
}

/* Many descriptors, with other rights each. */
static void many(void)
{
	char b[2];
	int fds[60];
	for (int i = 0; i < 60; i++)
		fds[i] = scratch();
	for (int i = 0; i < 60; i++)
		SUCCEEDS(i % 2 ? limit(fds[i], CAP_READ, 0ULL) : limit(fds[i], CAP_WRITE, CAP_FSTAT, 0ULL));
	for (int i = 0; i < 60; i++) {
		cap_rights_t r;
		SUCCEEDS(cap_rights_get(fds[i], &r));
		CHECK(cap_rights_is_set(&r, CAP_READ) == (i % 2 == 1));
		CHECK((read(fds[i], b, 1) == 1) == (i % 2 == 1));
		CHECK((write(fds[i], b, 1) == 1) == (i % 2 == 0));
	}
}

static volatile sig_atomic_t ticks;

static void tick(int signal)
{
	(void)signal;
	ticks++;
}

/* Copies and closes until a handler has interrupted often. */
static void copies_and_closes(int fd)
{
	for (int until = ticks + 1000, last; ticks < until;) {
		SUCCEEDS(last = dup(fd));
		SUCCEEDS(dup2(fd, last));
		SUCCEEDS(dup3(fd, last, O_CLOEXEC));
		CHECK(fcntl(last, F_GETFD) == FD_CLOEXEC);
		SUCCEEDS(close(last));
	}
}

/*
 * A call that never ends with EINTR does not either when a supervisor is asked about
 * it, and a handler interrupts that; be it that of `capsicum run` from the start.
 */
static void interrupted(void)
{
	struct sigaction act;
	struct itimerval often = {{0, 40}, {0, 40}}, never = {{0, 0}, {0, 0}};
	struct stat st;
	memset(&act, 0, sizeof act);
	act.sa_handler = tick;
	int fd = scratch(), other = scratch(), status;
	SUCCEEDS(sigaction(SIGALRM, &act, NULL));
	SUCCEEDS(setitimer(ITIMER_REAL, &often, NULL));
	copies_and_closes(other);
	SUCCEEDS(setitimer(ITIMER_REAL, &never, NULL));
	SUCCEEDS(limit(fd, CAP_FSTAT, 0ULL));
	SUCCEEDS(setitimer(ITIMER_REAL, &often, NULL));
	copies_and_closes(other);
	for (int until = ticks + 2000; ticks < until;)
		SUCCEEDS(fstat(fd, &st));
	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		SUCCEEDS(child);
		if (child == 0)
			_exit(0);
		while (waitpid(child, &status, 0) < 0)
			CHECK(errno == EINTR);
		CHECK(status == 0);
	}
	SUCCEEDS(setitimer(ITIMER_REAL, &never, NULL));
}

static bool maps_shared(int fd, int prot)
{
	void *p = mmap(NULL, 4096, prot, MAP_SHARED, fd, 0);
	return p != MAP_FAILED && munmap(p, 4096) == 0;
}

/* A limit that takes nothing from mapping leaves it, also where what is open can't be asked. */
static void mapped_again(void)
{
	cap_ioctl_t cmd = FIONREAD;
	int fd, open_for_both = scratch();
	SUCCEEDS(fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC));
	for (int i = 0; i < 2; i++) {
		SUCCEEDS(limit(fd, CAP_MMAP_R, CAP_IOCTL, 0ULL));
		CHECK(maps_shared(fd, PROT_READ) && !maps_shared(fd, PROT_READ | PROT_WRITE));
	}
	SUCCEEDS(cap_ioctls_limit(fd, &cmd, 1));
	SUCCEEDS(cap_fcntls_limit(fd, 0));
	SUCCEEDS(cap_enter());
	SUCCEEDS(limit(fd, CAP_MMAP_R, 0ULL));
	CHECK(maps_shared(fd, PROT_READ));
	if (!alone)
		return;
	/* A number that was limited, of a file that mprotect could make writable. */
	SUCCEEDS(dup2(open_for_both, fd));
	SUCCEEDS(limit(fd, CAP_MMAP_R, 0ULL));
	CHECK(!maps_shared(fd, PROT_READ) && errno == ENOTCAPABLE);
}

static void *closes_cancelled(void *fd)
{
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_cancel(pthread_self());
	CHECK(close(*(int *)fd) == 0 && dup2(0, *(int *)fd) == *(int *)fd);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	close(*(int *)fd);
	return NULL;
}

/* What takes the place of the C library's calls is as those are. */
static void closes(void)
{
	for (int confined = 0; confined < 2; confined++) {
		pthread_t thread;
		void *result;
		int fd = scratch(), copy = scratch();
		errno = 77;
		CHECK(dup2(fd, copy) == copy && dup2(fd, fd) == fd && close(copy) == 0 && errno == 77);
		FAILS(close(copy), EBADF);
		FAILS(close(-1), EBADF);
		FAILS(dup(copy), EBADF);
		FAILS(dup2(copy, copy), EBADF);
		FAILS(dup2(fd, -1), EBADF);
		FAILS(dup3(fd, fd, 0), EINVAL);
		SUCCEEDS(pthread_create(&thread, NULL, closes_cancelled, &fd) == 0 ? 0 : -1);
		CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
		SUCCEEDS(fcntl(fd, F_GETFD)); /* a point of cancellation, before anything is done */
		SUCCEEDS(limit(fd, CAP_READ, 0ULL));
		sigset_t blocked;
		CHECK(pthread_sigmask(0, NULL, &blocked) == 0 && !sigismember(&blocked, SIGALRM));
	}
}

const struct test_case limit_cases[] = {
	{"limits", limits}, {"wrong", wrong}, {"ioctls", ioctls}, {"fcntls", fcntls}, {"streams", streams},
	{"closed streams", closed_streams}, {"helpers", helpers}, {"many", many}, {"interrupted", interrupted},
	{"mapped again", mapped_again}, {"closes", closes}, {NULL, NULL},
};
