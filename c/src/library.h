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
long capsicum_install(struct sock_filter *prog, int n);
int capsicum_can_filter(void);
long capsicum_install_listener(struct sock_filter *prog, int n);
int capsicum_futex_wait(uint32_t *word, uint32_t old, long milliseconds);
void capsicum_futex_wake(uint32_t *word);

/* lock.c */
struct capsicum_signals {
	uint64_t mask;
};
bool capsicum_lock(struct capsicum_signals *before);
void capsicum_unlock(const struct capsicum_signals *before);

/* capsicum.c: what is remembered may be half written, or another process's. */
void capsicum_forget(void);

/* Room for one filter; whoever holds the lock may use it. */
extern struct sock_filter capsicum_room[MAX_FILTER];

/* localtime.c */
void capsicum_keep_local_time(void);
void capsicum_keep_local_time_if_alone(void);

/* attach.c */
int capsicum_attach(void);

/* supervised.c */
bool capsicum_supervised(void);
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
int capsicum_static_enter(void);
int capsicum_static_mode(void);
int capsicum_static_limit_rights(int fd, const uint64_t words[2]);
int capsicum_static_rights(int fd, uint64_t words[2]);
int capsicum_static_limit_ioctls(int fd, const uint32_t *cmds, int n);
int capsicum_static_ioctls(int fd, uint32_t cmds[MAX_IOCTLS]);
int capsicum_static_limit_fcntls(int fd, uint32_t mask);
int capsicum_static_fcntls(int fd, uint32_t *mask);

#endif
