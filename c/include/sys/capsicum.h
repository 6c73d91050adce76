/*
 * Capsicum: capability mode, and rights on descriptors. The names, prototypes and
 * values are FreeBSD's; see capsicum(4), rights(4), cap_enter(2),
 * cap_rights_limit(2), cap_rights_init(3).
 *
 * Nothing here has a name of <linux/capability.h>: both may be included.
 */
#ifndef _SYS_CAPSICUM_H_
#define _SYS_CAPSICUM_H_

/*
 * The first C++ has neither the numbers nor the macros, which -Wpedantic tells. clang
 * tells it of numbers wherever a right is used.
 */
#if defined __cplusplus && __cplusplus < 201103L
#ifdef __clang__
#pragma clang diagnostic ignored "-Wc++11-long-long"
#endif
#pragma GCC system_header
#endif

/* FreeBSD's brings in these, so programs leave them out. */
#include <sys/param.h>
#include <sys/types.h>
#include <sys/file.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#ifndef __cplusplus
#include <stdbool.h>
#endif

#include <sys/_rights.h>
#include <sys/caprights.h>

/* Linux has no errno of these names; the numbers are those of its Capsicum port. */
#ifndef ECAPMODE
#define ECAPMODE	134	/* not permitted in capability mode */
#endif
#ifndef ENOTCAPABLE
#define ENOTCAPABLE	135	/* capabilities insufficient */
#endif

/* A right is one bit of one word; it also says which word it is of. */
#define CAPRIGHT(idx, bit)	((1ULL << (57 + (idx))) | (bit))

/* How cap_rights_t is made up. */
#define CAPRVER(right)		((int)((right) >> 62))
#define CAPVER(rights)		CAPRVER((rights)->cr_rights[0])
#define CAPARSIZE(rights)	(CAPVER(rights) + 2)
#define CAPARSIZE_MIN		(CAP_RIGHTS_VERSION_00 + 2)
#define CAPARSIZE_MAX		(CAP_RIGHTS_VERSION + 2)
#define CAPIDXBIT(right)	((int)(((right) >> 57) & 0x1f))

#define CAP_ALL(rights) do {						\
	(rights)->cr_rights[0] = CAP_ALL0;				\
	(rights)->cr_rights[1] = CAP_ALL1;				\
} while (0)
#define CAP_NONE(rights) do {						\
	(rights)->cr_rights[0] = CAP_NONE0;				\
	(rights)->cr_rights[1] = CAP_NONE1;				\
} while (0)

/* The fcntl commands of cap_fcntls_limit(): 1 << F_command of this system. */
#define CAP_FCNTL_GETFL		(1U << 3)
#define CAP_FCNTL_SETFL		(1U << 4)
#define CAP_FCNTL_SETOWN	(1U << 8)
#define CAP_FCNTL_GETOWN	(1U << 9)
#define CAP_FCNTL_ALL \
	(CAP_FCNTL_GETFL | CAP_FCNTL_SETFL | CAP_FCNTL_GETOWN | CAP_FCNTL_SETOWN)

/* What cap_ioctls_get() returns of a descriptor without a list. */
#define CAP_IOCTLS_ALL		((ssize_t)(~(size_t)0 >> 1))

#ifndef _CAP_IOCTL_T_DECLARED
#define _CAP_IOCTL_T_DECLARED
typedef unsigned long cap_ioctl_t;
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The lists end with 0. Rights of different words are separate arguments. */
cap_rights_t *__cap_rights_init(int version, cap_rights_t *rights, ...);
cap_rights_t *__cap_rights_set(cap_rights_t *rights, ...);
cap_rights_t *__cap_rights_clear(cap_rights_t *rights, ...);
bool __cap_rights_is_set(const cap_rights_t *rights, ...);

cap_rights_t *cap_rights_init(cap_rights_t *rights, ...);
cap_rights_t *cap_rights_set(cap_rights_t *rights, ...);
cap_rights_t *cap_rights_clear(cap_rights_t *rights, ...);
bool cap_rights_is_set(const cap_rights_t *rights, ...);

#define cap_rights_init(...) \
	__cap_rights_init(CAP_RIGHTS_VERSION, __VA_ARGS__, 0ULL)
#define cap_rights_set(...)	__cap_rights_set(__VA_ARGS__, 0ULL)
#define cap_rights_clear(...)	__cap_rights_clear(__VA_ARGS__, 0ULL)
#define cap_rights_is_set(...)	__cap_rights_is_set(__VA_ARGS__, 0ULL)

bool cap_rights_is_valid(const cap_rights_t *rights);
bool cap_rights_is_empty(const cap_rights_t *rights);
cap_rights_t *cap_rights_merge(cap_rights_t *dst, const cap_rights_t *src);
cap_rights_t *cap_rights_remove(cap_rights_t *dst, const cap_rights_t *src);
cap_rights_t *cap_rights_intersect(cap_rights_t *dst, const cap_rights_t *src);
bool cap_rights_contains(const cap_rights_t *big, const cap_rights_t *little);

int cap_enter(void);
bool cap_sandboxed(void);
int cap_getmode(unsigned int *modep);

int cap_rights_limit(int fd, const cap_rights_t *rights);
int __cap_rights_get(int version, int fd, cap_rights_t *rights);
int cap_rights_get(int fd, cap_rights_t *rights);
int cap_ioctls_limit(int fd, const cap_ioctl_t *cmds, size_t ncmds);
ssize_t cap_ioctls_get(int fd, cap_ioctl_t *cmds, size_t maxcmds);
int cap_fcntls_limit(int fd, uint32_t fcntlrights);
int cap_fcntls_get(int fd, uint32_t *fcntlrightsp);

/* Only here: strerror(3) with words for ECAPMODE and ENOTCAPABLE. */
const char *capsicum_strerror(int error);

#ifdef __cplusplus
}
#endif

#endif
