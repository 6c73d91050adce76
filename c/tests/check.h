/* What the tests have in common: each case is a process of its own. */
#ifndef CHECK_H
#define CHECK_H

#include <capsicum_helpers.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether this process must come to be confined without a supervisor. */
extern int alone;

#define CHECK(condition) do {						\
	if (!(condition)) {						\
		fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
		_exit(1);						\
	}								\
} while (0)

#define SUCCEEDS(call) CHECK((call) >= 0)
#define FAILS(call, error) do {						\
	errno = 0;							\
	CHECK((call) < 0);						\
	CHECK(errno == (error));					\
} while (0)

struct test_case {
	const char *name;
	void (*run)(void);
};

extern const struct test_case set_cases[], limit_cases[], mode_cases[], process_cases[], crippled_cases[], shm_cases[], procdesc_cases[], pdwait_cases[], poll_cases[], stream_cases[];

/* A file with some bytes in it, open for reading and writing. */
int scratch(void);
/* Limits fd to rights, ended by 0. */
int limit(int fd, ...);
/* Runs f in a child; its end must be 0. */
void in_child(void (*f)(void *), void *arg);
/* Has the kernel answer a call with an error, as an old one or a sandbox does. */
void refuse(long call, int error);
/* The supervisor of a process, or 0. */
int supervisor_of(int pid);

#endif
