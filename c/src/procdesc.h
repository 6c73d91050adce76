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

/* The number under which this process has a descriptor of child pid, or -1. */
int capsicum_pd_of(pid_t pid);
void capsicum_pd_sweep(void);

#endif
