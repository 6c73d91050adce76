/*
 * What programs for the Linux port of Capsicum find under this name. Its own rights
 * are expressed by FreeBSD's, whose numbers they collided with. CAP_PERFMON and
 * CAP_BPF are not here: <linux/capability.h> has other things of these names.
 */
#ifndef _LINUX_CAPSICUM_H
#define _LINUX_CAPSICUM_H

/* As in <sys/capsicum.h>. */
#if defined __cplusplus && __cplusplus < 201103L
#pragma GCC system_header
#endif

#include <sys/capsicum.h>

#define ENOTBENEATH	ENOTCAPABLE

#define CAP_FSIGNAL	CAP_EVENT
#define CAP_EPOLL_CTL	CAP_KQUEUE_CHANGE
#define CAP_NOTIFY	(CAP_INOTIFY_ADD | CAP_INOTIFY_RM)
/* No right permits setns() on a limited descriptor: the empty right. */
#define CAP_SETNS	CAPRIGHT(1, 0ULL)

/* Older names. */
#define CAP_LINKAT	(CAP_LINKAT_SOURCE | CAP_LINKAT_TARGET)
#define CAP_RENAMEAT	(CAP_RENAMEAT_SOURCE | CAP_RENAMEAT_TARGET)
#define CAP_MAPEXEC	CAP_MMAP_X
#define CAP_MKDIR	CAP_MKDIRAT
#define CAP_RMDIR	CAP_UNLINKAT
#define CAP_MKFIFO	CAP_MKFIFOAT

#endif
