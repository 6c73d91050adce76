/* Anonymous shared memory, as shm_open(2) of FreeBSD has it. */
#ifndef _CAPSICUM_SYS_MMAN_H_
#define _CAPSICUM_SYS_MMAN_H_

#pragma GCC system_header
#include_next <sys/mman.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

int capsicum_shm_open(const char *path, int flags, mode_t mode);

#ifdef __cplusplus
}
#endif

/*
 * The name of an object without one. Only a program that looks for headers here has
 * it: the system's own shm_open() would take it for an address.
 */
#define SHM_ANON	((char *)1)
#define shm_open	capsicum_shm_open

#endif
