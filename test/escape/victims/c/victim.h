/*
 * One attacker in many forms. Each command prints one line per attempt,
 *
 *	name: OK            the attempt did what it set out to do
 *	name: ENOENT        it failed, and how
 *
 * and "done" at the end. A name that begins with '+' has to succeed inside the
 * sandbox too, one with '-' has to fail outside too, one with '=' is a remark.
 * "~name" leaves the verdict to the harness, which looks at the object that the
 * attempt was aimed at.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* say reports an attempt: err 0 is success. */
void say(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* result is 0 or errno of a call that returned r. */
#define result(r) ((r) < 0 ? errno : 0)
/* ok is 0 when cond holds, EBADMSG when not: for attempts judged by what came back. */
#define ok(cond) ((cond) ? 0 : EBADMSG)
const char *errname(int err);

void die(const char *what);
double now(void);
/* seconds is how long a race goes on. */
extern double seconds;

/* holds_secret reads fd and says whether it is the outside's secret. */
int holds_secret(int fd);
/* reads_as opens name and compares the first bytes. */
int open_secret(const char *name);
/* join writes a/b to one of several static buffers. */
char *join(const char *a, const char *b);

/* wait_for collects a child; the result is its exit status, 128+n for a signal. */
int wait_for(pid_t pid);

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
};
extern const struct command commands[];

int cmd_race(int, char **), cmd_exec_race(int, char **), cmd_unmap(int, char **), cmd_exhaust(int, char **);
int cmd_swap(int, char **), cmd_twice(int, char **), cmd_self(int, char **), cmd_self_child(int, char **);
int cmd_magic(int, char **), cmd_fds(int, char **), cmd_reopen(int, char **), cmd_sockets(int, char **);
int cmd_inbound(int, char **), cmd_uring(int, char **), cmd_foreign(int, char **), cmd_numbers(int, char **);
int cmd_high(int, char **), cmd_tty(int, char **), cmd_clone3(int, char **), cmd_kin(int, char **);
int cmd_userns(int, char **), cmd_peer(int, char **), cmd_awake(int, char **), cmd_undump(int, char **), cmd_signals(int, char **);
int cmd_reuse(int, char **), cmd_reexec(int, char **), cmd_pipeline(int, char **), cmd_stall(int, char **);
int cmd_opens(int, char **), cmd_exec(int, char **), cmd_keys(int, char **), cmd_persona(int, char **);
int cmd_cross(int, char **), cmd_readonly(int, char **), cmd_oracle(int, char **), cmd_net(int, char **);
int cmd_parent(int, char **), cmd_hello(int, char **), cmd_mounts(int, char **), cmd_refused(int, char **);
int cmd_lend(int, char **), cmd_stopped(int, char **), cmd_climb(int, char **), cmd_handle(int, char **);
int cmd_setuid(int, char **), cmd_filter(int, char **), cmd_getfd(int, char **), cmd_secret(int, char **), cmd_later(int, char **);
int cmd_wait(int, char **), cmd_launch(int, char **), cmd_runtime(int, char **);
