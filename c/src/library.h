/* What the parts of the library share. Names outside this file's are hidden. */
#ifndef LIBRARY_H
#define LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/filter.h>

#include "protocol.h"

#define PUBLIC __attribute__((visibility("default")))

#define MAX_IOCTLS 256 /* the longest list of commands */

/* Functions that return int or long return -errno when they fail. */

/* system.c */
long capsicum_call(long nr, long a, long b, long c, long d, long e, long f);
#define CALL0(nr) capsicum_call(nr, 0, 0, 0, 0, 0, 0)
#define CALL1(nr, a) capsicum_call(nr, (long)(a), 0, 0, 0, 0, 0)
#define CALL2(nr, a, b) capsicum_call(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define CALL3(nr, a, b, c) capsicum_call(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define CALL4(nr, a, b, c, d) capsicum_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define CALL5(nr, a, b, c, d, e) capsicum_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
long capsicum_wait_call(long nr, long a, long b, long c, long d, long e, long f);
long capsicum_install(struct sock_filter *prog, int n);
int capsicum_can_filter(void);
long capsicum_install_listener(struct sock_filter *prog, int n);
int capsicum_futex_wait(uint32_t *word, uint32_t old, long milliseconds);
void capsicum_futex_wake(uint32_t *word);
bool capsicum_alive(long pid);

/* All signals but those of faults, which blocked would end the process. */
#define SIGNAL_BIT(signal) (1ULL << ((signal)-1))
#define NOT_FAULTS \
	(~(SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGSYS)))

/* lock.c */
struct capsicum_signals {
	uint64_t mask;
};
bool capsicum_lock(struct capsicum_signals *before);
void capsicum_unlock(const struct capsicum_signals *before);
/* The process that this memory is of; 0 in a copy. Others may share it: children of vfork. */
uint32_t *capsicum_owner(void);
/*
 * Whether the C library may be called for what takes its locks: this is no copy of a
 * process with several threads, of which one may have held a lock, and shares no memory.
 */
bool capsicum_sound(void);

/* capsicum.c: take and give back the lock over what is remembered. */
void capsicum_start(struct capsicum_signals *s);
void capsicum_finish(const struct capsicum_signals *s);
/* The caller is a child, in the middle of a call that its parent has begun. */
void capsicum_born(void);

/* Room for one filter; whoever holds the lock may use it. */
extern struct sock_filter capsicum_room[MAX_FILTER];

/* localtime.c */
void capsicum_keep_local_time(void);

/* firstuse.c */
void capsicum_keep_unwinding(void);
void capsicum_keep_charset(void);
void capsicum_keep_lines(void);

/* attach.c */
int capsicum_attach(void);

/* execute.c */
bool capsicum_execute_no_names(void);

/* procdesc.c */
bool capsicum_is_procdesc(int fd);

/* supervised.c */
bool capsicum_supervised(void);
/* Says, before it is so, whether a supervisor is asked about calls; what was said last. */
int capsicum_set_asked(int now);
/*
 * A call that a signal does not interrupt before a supervisor has heard of it: nobody
 * expects that of calls that do not wait. Signal handlers may use it.
 */
long capsicum_call_whole(long nr, long a, long b, long c);
int capsicum_name(long pid);
bool capsicum_join(void);
void capsicum_join_as_child(void);
int capsicum_supervised_enter(void);
int capsicum_supervised_mode(void);
int capsicum_supervised_limit_rights(int fd, const uint64_t words[2]);
int capsicum_supervised_rights(int fd, uint64_t words[2]);
int capsicum_supervised_limit_ioctls(int fd, const uint32_t *cmds, int n);
int capsicum_supervised_ioctls(int fd, uint32_t cmds[MAX_IOCTLS]);
int capsicum_supervised_limit_fcntls(int fd, uint32_t mask);
int capsicum_supervised_fcntls(int fd, uint32_t *mask);

/* static.c: the same by filters alone */
bool capsicum_static_begun(void);
void capsicum_static_forget(void);
void capsicum_static_lend(void);
void capsicum_static_take_back(void);
int capsicum_static_enter(void);
int capsicum_static_mode(void);
int capsicum_static_limit_rights(int fd, const uint64_t words[2]);
int capsicum_static_rights(int fd, uint64_t words[2]);
int capsicum_static_limit_ioctls(int fd, const uint32_t *cmds, int n);
int capsicum_static_ioctls(int fd, uint32_t cmds[MAX_IOCTLS]);
int capsicum_static_limit_fcntls(int fd, uint32_t mask);
int capsicum_static_fcntls(int fd, uint32_t *mask);

#endif
