/* What the parts of process descriptors share. */
#ifndef PROCDESC_H
#define PROCDESC_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How a process ended: what its helper sends. Package procdesc has the same. */
struct record {
	uint64_t magic;
	siginfo_t info;
	uint64_t rusage[18]; /* as the kernel has it; a C library may have room for more */
};

#define RECORD_MAGIC 0x7469786564637064ULL
#define MARK 0x7064	   /* of a process descriptor, in SO_RCVLOWAT */
#define MARK_DAEMON 0x7065

/*
 * 0, and how the process ended, which is left for others with WAIT_LEAVE; the inode of
 * the descriptor as long as it has not; or -errno, of which ECHILD says that somebody has taken it.
 */
long capsicum_pd_end(int fd, struct record *r, long options);

/* Whether the process has not ended, or -errno. */
long capsicum_pd_alive(int fd);

/* What a helper saw last of its child, a stop or a continuation, and who was told. */
struct watch {
	_Atomic uint32_t lives; /* another number after each change, odd meanwhile; 0 once the helper has ended: the kernel writes it */
	_Atomic uint32_t told;	/* what it was when somebody was told */
	struct record seen;
};

#define LIVES 2

/* The watch of this process's child whose descriptor has an inode, or NULL; it stays until it is given back. */
struct watch *capsicum_pd_watch(uint64_t inode);
void capsicum_pd_unwatch(struct watch *w);

/* The number under which this process has a descriptor of child pid, or -1. */
int capsicum_pd_of(pid_t pid);
void capsicum_pd_sweep(void);

#endif
