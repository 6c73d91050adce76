/* The tables of static filters, and the compiler that makes filters of them. */
#ifndef STATIC_H
#define STATIC_H

#include "library.h"

enum { OP_IN, OP_NOT_IN, OP_ABOVE, OP_ANY_OF, OP_NONE_OF };

#define THE_FD (1ULL << 41) /* stands for the number of the descriptor */

/*
 * Compares one register. The kernel reads descriptors, commands and most flags as
 * 32-bit numbers; a wide test, with one value, looks at all 64 bits.
 */
struct test {
	uint8_t arg, op, wide;
	uint32_t mask; /* 0 for none */
	const uint64_t *values;
	uint16_t nvalues;
};

/* Refuses a call if every test holds; error 0 lets it pass. The first that holds decides. */
struct clause {
	const struct test *tests;
	uint16_t ntests;
	uint16_t error;
};

struct clauses {
	const struct clause *list;
	uint16_t n;
};

enum { DEMAND_RIGHTS, DEMAND_COMMANDS, DEMAND_CONTROLS, DEMAND_MARKS, DEMAND_ALL };

/* What a call asks of the descriptor in register arg, if every test holds. */
struct demand {
	uint8_t arg, kind, read_only, writable;
	uint64_t rights[2];
	const struct test *tests;
	uint16_t ntests;
};

struct call {
	const struct demand *demands;
	uint16_t ndemands;
	uint16_t refused; /* capability mode refuses it whatever its arguments */
	struct clauses left, own, own_mode, first, poll; /* see package slot */
};

struct command {
	int number, mask;
	uint64_t rights[2];
};

struct number {
	uint16_t number;
	int16_t call; /* index into capsicum_calls, or -1 */
};

extern const uint32_t capsicum_arch;
extern const struct call capsicum_calls[];
extern const struct command capsicum_commands[];
extern const int capsicum_ncommands;
extern const struct number capsicum_numbers[];
extern const int capsicum_nnumbers;

/* Capability mode, and the instructions that hold the process's number. */
extern const struct sock_filter capsicum_mode[];
extern const int capsicum_nmode;
extern const uint16_t capsicum_mode_pids[];
extern const int capsicum_nmode_pids;

/* What a descriptor may be used for. */
struct caps {
	uint64_t rights[2];
	uint32_t fcntls;
	bool listed; /* only the ioctl commands in ioctls */
	int nioctls;
	uint32_t ioctls[MAX_IOCTLS];
};

struct options {
	bool mode, read_only, first, poll;
	const struct caps *had; /* what an earlier filter permits, or NULL */
	bool had_read_only;
};

/* compile.c: writes a filter of fd to capsicum_room; returns its length. */
int capsicum_compile(int fd, const struct caps *c, const struct options *o);

/*
 * rings.c: EBUSY if calls are made for this process that no filter sees, another error if
 * that can't be looked at. Without /proc or a free descriptor nobody can tell.
 */
int capsicum_filters_see(void);

/* assemble.c: code with labels. -1 is the next instruction. */
#define NEXT (-1)

void capsicum_begin(void);
int capsicum_label(void);
void capsicum_bind(int label);
void capsicum_emit(uint16_t code, uint32_t k, int t, int f);
int capsicum_assemble(void);
/* Something had no room: the filter is not to be used. */
void capsicum_overflow(void);

#endif
