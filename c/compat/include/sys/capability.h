/*
 * Older FreeBSD's name of <sys/capsicum.h>, and libcap's name of its header. Both come
 * with it, the other where it is installed; they have no name in common.
 */
#ifndef _CAPSICUM_SYS_CAPABILITY_H_
#define _CAPSICUM_SYS_CAPABILITY_H_

#pragma GCC system_header
#if __has_include_next(<sys/capability.h>)
#include_next <sys/capability.h>
#endif
#include <sys/capsicum.h>

#endif
