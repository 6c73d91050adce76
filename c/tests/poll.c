/* Waiting for descriptors while one of them may not be waited for. */
#define _GNU_SOURCE
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>

#include "check.h"

static int blind, quiet[2], ready[2], ended[2];

static void prepare(void)
{
	blind = scratch();
	CHECK(pipe(quiet) == 0 && pipe(ready) == 0 && pipe(ended) == 0);
	CHECK(write(ready[1], "x", 1) == 1);
	SUCCEEDS(close(ended[1]));
	SUCCEEDS(limit(blind, CAP_READ, 0ULL));
}

static long elapsed(const struct timespec *since)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
}

static void polled(void)
{
	prepare();
	SUCCEEDS(cap_enter());
	struct pollfd fds[] = {
		{ready[0], POLLIN, 9}, {quiet[0], POLLIN, 9}, {quiet[1], POLLOUT | POLLIN, 9}, {ended[0], POLLIN, 9},
		{-1, POLLIN, 9}, {999, POLLIN, 9}, {blind, POLLIN, 9}, {ready[0], POLLOUT, 9}, {ready[0], POLLRDNORM, 9},
	};
	CHECK(poll(fds, 9, -1) == 6);
	CHECK(fds[0].revents == POLLIN && fds[1].revents == 0 && fds[2].revents == POLLOUT && fds[3].revents == POLLHUP);
	CHECK(fds[4].revents == 0 && fds[5].revents == POLLNVAL && fds[6].revents == POLLNVAL);
	CHECK(fds[7].revents == 0 && fds[8].revents == POLLRDNORM);
	int plain = scratch();
	struct pollfd file = {plain, POLLIN | POLLOUT | POLLPRI, 9};
	CHECK(poll(&file, 1, -1) == 1 && file.revents == (POLLIN | POLLOUT));
}

static void polled_many(void)
{
	prepare();
	SUCCEEDS(cap_enter());
	struct pollfd many[200];
	for (int i = 0; i < 200; i++)
		many[i] = (struct pollfd){i % 2 ? ready[0] : quiet[0], POLLIN, 9};
	CHECK(poll(many, 200, -1) == 100 && many[0].revents == 0 && many[199].revents == POLLIN);
}

static void polled_in_vain(void)
{
	struct timespec begun, t = {0, 50 * 1000 * 1000}, none = {0, 0};
	prepare();
	SUCCEEDS(cap_enter());
	struct pollfd fd = {quiet[0], POLLIN, 9};
	clock_gettime(CLOCK_MONOTONIC, &begun);
	CHECK(poll(&fd, 1, 50) == 0 && fd.revents == 0 && elapsed(&begun) >= 50);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	CHECK(ppoll(&fd, 1, &t, NULL) == 0 && elapsed(&begun) >= 50 && t.tv_nsec == 50 * 1000 * 1000);
	CHECK(ppoll(&fd, 1, &none, NULL) == 0);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	CHECK(poll(NULL, 0, 50) == 0 && elapsed(&begun) >= 50);
}

static volatile sig_atomic_t heard;

static void hear(int signal)
{
	heard = signal;
}

static void polled_with_signals(void)
{
	sigset_t all, none;
	struct sigaction action = {.sa_handler = hear, .sa_flags = SA_RESTART};
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	sigfillset(&all);
	sigemptyset(&none);
	SUCCEEDS(sigprocmask(SIG_SETMASK, &all, NULL));
	prepare();
	struct pollfd fd = {quiet[0], POLLIN, 9};
	SUCCEEDS(raise(SIGUSR1));
	CHECK(poll(&fd, 1, 20) == 0 && !heard);
	FAILS(ppoll(&fd, 1, NULL, &none), EINTR);
	CHECK(heard == SIGUSR1);
	heard = 0;
	SUCCEEDS(raise(SIGUSR1));
	FAILS(pselect(0, NULL, NULL, NULL, NULL, &none), EINTR);
	CHECK(heard == SIGUSR1);
}

static void selected(void)
{
	fd_set in, out;
	struct timeval none = {0, 0}, some = {0, 50000};
	prepare();
	SUCCEEDS(cap_enter());
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(ready[0], &in);
	FD_SET(quiet[0], &in);
	FD_SET(ended[0], &in);
	FD_SET(quiet[1], &out);
	CHECK(select(20, &in, &out, NULL, NULL) == 3);
	CHECK(FD_ISSET(ready[0], &in) && !FD_ISSET(quiet[0], &in) && FD_ISSET(ended[0], &in) && FD_ISSET(quiet[1], &out));
	FD_ZERO(&in);
	FD_SET(quiet[0], &in);
	CHECK(select(20, &in, NULL, NULL, &none) == 0 && !FD_ISSET(quiet[0], &in));
	FD_SET(quiet[0], &in);
	CHECK(select(20, &in, NULL, NULL, &some) == 0 && some.tv_sec == 0 && some.tv_usec < 5000);
	FD_ZERO(&in);
	FD_SET(blind, &in);
	FAILS(select(20, &in, NULL, NULL, &none), ENOTCAPABLE);
	FD_ZERO(&in);
	FD_SET(19, &in);
	FAILS(select(20, &in, NULL, NULL, &none), EBADF);
}

/* Times that are none stay as they are, and of the longest something is left. */
static void select_times(void)
{
	static const struct timeval none[] = {{-1, 0}, {0, -1}, {-1, 5000000}, {LONG_MIN, 0}};
	static const struct timeval endless[] = {{LONG_MAX, 0}, {LONG_MAX, 999999}, {LONG_MAX, 5000000}, {LONG_MAX - 1, LONG_MAX}};
	static const struct timespec wrong[] = {{-1, 0}, {0, -1}, {0, 1000000000}};
	const long decades = 60L * 60 * 24 * 365 * 30;
	fd_set in;
	prepare();
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 4; i++) {
			struct timeval t = none[i];
			FD_ZERO(&in);
			FD_SET(ready[0], &in);
			FAILS(select(20, &in, NULL, NULL, &t), EINVAL);
			CHECK(t.tv_sec == none[i].tv_sec && t.tv_usec == none[i].tv_usec && FD_ISSET(ready[0], &in));
			t = endless[i];
			CHECK(select(20, &in, NULL, NULL, &t) == 1 && FD_ISSET(ready[0], &in));
			CHECK(t.tv_sec > LONG_MAX - decades && t.tv_usec >= 0 && t.tv_usec < 1000000);
		}
		for (int i = 0; i < 3; i++) {
			struct pollfd fd = {quiet[0], POLLIN, 0};
			FAILS(pselect(20, NULL, NULL, NULL, &wrong[i], NULL), EINVAL);
			FAILS(ppoll(&fd, 1, &wrong[i], NULL), EINVAL);
		}
		struct timeval t = {0, 1500000};
		FAILS(select(-1, NULL, NULL, NULL, &t), EINVAL);
		t = (struct timeval){0, 1500000};
		CHECK(select(20, &in, NULL, NULL, &t) == 1 && t.tv_sec == 1 && t.tv_usec > 100000 && t.tv_usec <= 500000);
		SUCCEEDS(cap_enter());
	}
}

#ifndef __SANITIZE_ADDRESS__
static void *wait_for_ever(void *arg)
{
	(void)arg;
	struct pollfd fd = {quiet[0], POLLIN, 0};
	poll(&fd, 1, -1);
	return NULL;
}

/* A thread that waits can be cancelled, and leaves no descriptor. */
static void polled_and_cancelled(void)
{
	prepare();
	int next = dup(quiet[0]);
	SUCCEEDS(close(next));
	for (int i = 0; i < 3; i++) {
		pthread_t thread;
		void *result;
		CHECK(pthread_create(&thread, NULL, wait_for_ever, NULL) == 0);
		nanosleep(&(struct timespec){0, 50 * 1000 * 1000}, NULL);
		CHECK(pthread_cancel(thread) == 0);
		CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
	}
	CHECK(dup(quiet[0]) == next);
}
#endif

/* Without a descriptor for it there is no other way: what can't be judged is refused. */
static void polled_without_room(void)
{
	struct rlimit none = {3, 3};
	prepare();
	SUCCEEDS(cap_enter());
	struct pollfd fd = {0, POLLIN, 0};
	SUCCEEDS(setrlimit(RLIMIT_NOFILE, &none));
	if (alone)
		FAILS(poll(&fd, 1, 0), ENOTCAPABLE);
	else
		SUCCEEDS(poll(&fd, 1, 0));
}

const struct test_case poll_cases[] = {
	{"poll", polled},
	{"poll of many", polled_many},
	{"poll in vain", polled_in_vain},
	{"poll with signals", polled_with_signals},
	{"select", selected},
	{"select, times", select_times},
#ifndef __SANITIZE_ADDRESS__ /* which does not bear that a stack is unwound so */
	{"poll cancelled", polled_and_cancelled},
#endif
	{"poll without room", polled_without_room},
	{NULL, NULL},
};
