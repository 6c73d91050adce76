/* What the parts of process descriptors share. */
#ifndef PROCDESC_H
#define PROCDESC_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
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

/* What this process remembers of a child's helper: the beginning of a mapping. */
struct kept {
	struct kept *next;
	struct watch watch;
	pid_t pid; /* the helper's; 0 once it was waited for */
	pid_t child;
	int fd;		   /* what pdfork() stored, or -1 */
	unsigned watchers; /* who looks at watch */
	uint64_t inode;	   /* of the descriptor */
	size_t size;	   /* of the mapping */
};

/* Remembers a helper; one that was not made is unmapped. */
void capsicum_pd_keep(struct kept *k);
/* Waits for helpers that have ended, and drops what nobody can ask for any more. */
void capsicum_pd_sweep(void);
/* In a child: the helpers are its parent's. */
void capsicum_pd_forget(void);

/* The watch of this process's child whose descriptor has an inode, or NULL; it stays until it is given back. */
struct watch *capsicum_pd_watch(uint64_t inode);
void capsicum_pd_unwatch(struct watch *w);

/* The number under which this process has a descriptor of child pid, or -1. */
int capsicum_pd_of(pid_t pid);

#endif
