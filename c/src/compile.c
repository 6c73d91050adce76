/*
 * Compiles the static filter of a descriptor: package slot's compiler, instruction
 * for instruction, for processes that can start no other. A test compares them.
 */
#include <errno.h>
#include <string.h>

#include <linux/seccomp.h>
#include <sys/capsicum.h>
#include <sys/fanotify.h>

#include "static.h"

#if !defined __x86_64__ && !defined __aarch64__ || defined __ILP32__
#error "no tables for this architecture"
#endif

#define X32_BIT 0x40000000U
#define OFF_NR 0
#define OFF_ARCH 4
#define OFF_LOW(i) (16 + 8 * (uint32_t)(i))
#define OFF_HIGH(i) (OFF_LOW(i) + 4)
#define NOTHING (~0U) /* loaded */

#define JUMP_EQUAL (BPF_JMP | BPF_JEQ | BPF_K)
#define JUMP_ABOVE (BPF_JMP | BPF_JGT | BPF_K)
#define JUMP_AT_LEAST (BPF_JMP | BPF_JGE | BPF_K)
#define JUMP_ANY (BPF_JMP | BPF_JSET | BPF_K)

/* How many comparisons are made one after the other before halving is shorter. */
#define BUCKET 10

/* Room, under the lock. What does not fit fails as a whole. */
#define MAX_VALUES 4096
#define MAX_TESTS 8192
#define MAX_CLAUSES 16384
#define MAX_RUNS 1024
#define MAX_BLOCKS 512
#define MAX_VERDICTS 8

static uint64_t values[MAX_VALUES];
static struct test tests[MAX_TESTS];
static struct clause clauses[MAX_CLAUSES];
static int nvalues, ntests, nclauses;

struct run {
	uint32_t low, high;
	int to;
};

static struct run runs[MAX_RUNS];
static int nruns;

static struct block {
	int label;
	struct clauses list;
} blocks[MAX_BLOCKS];
static int nblocks;

static struct {
	uint16_t error;
	int label;
} verdicts[MAX_VERDICTS];
static int nverdicts;

static int pass, nowhere; /* labels: nowhere is of numbers that may lead anywhere */
static uint32_t loaded;	  /* the offset whose word is in the accumulator, or NOTHING */

static uint64_t *new_values(int n)
{
	if (n > MAX_VALUES - nvalues) {
		capsicum_overflow();
		nvalues = 0;
	}
	nvalues += n;
	return values + nvalues - n;
}

static struct test *new_tests(int n)
{
	if (n > MAX_TESTS - ntests) {
		capsicum_overflow();
		ntests = 0;
	}
	ntests += n;
	return tests + ntests - n;
}

static struct clause *new_clauses(int n)
{
	if (n > MAX_CLAUSES - nclauses) {
		capsicum_overflow();
		nclauses = 0;
	}
	nclauses += n;
	return clauses + nclauses - n;
}

static struct test is(int arg, uint64_t v)
{
	uint64_t *value = new_values(1);
	*value = v;
	return (struct test){(uint8_t)arg, OP_IN, 0, 0, value, 1};
}

static bool same_test(const struct test *t, const struct test *u)
{
	return t->arg == u->arg && t->op == u->op && t->wide == u->wide && t->mask == u->mask &&
	    t->nvalues == u->nvalues &&
	    (t->nvalues == 0 || memcmp(t->values, u->values, t->nvalues * sizeof *t->values) == 0);
}

static bool same_clause(const struct clause *a, const struct clause *b)
{
	if (a->error != b->error || a->ntests != b->ntests)
		return false;
	for (int i = 0; i < a->ntests; i++)
		if (!same_test(&a->tests[i], &b->tests[i]))
			return false;
	return true;
}

static bool same_clauses(struct clauses a, struct clauses b)
{
	if (a.n != b.n)
		return false;
	for (int i = 0; i < a.n; i++)
		if (!same_clause(&a.list[i], &b.list[i]))
			return false;
	return true;
}

/* What a descriptor lacks */

/* Further tests, under which a call lacks something: none at all, or n of them. */
struct further {
	bool lacks;
	int n;
	struct test test;
};

static const struct further nothing_lacks = {false, 0, {0, 0, 0, 0, 0, 0}};
static const struct further everything_lacks = {true, 0, {0, 0, 0, 0, 0, 0}};

static bool contains(const struct caps *c, const uint64_t rights[2])
{
	return !(rights[0] & ~c->rights[0]) && !(rights[1] & ~c->rights[1]);
}

static bool has(const struct caps *c, uint64_t right)
{
	return contains(c, right & CAP_NONE0 ? (uint64_t[]){right, CAP_NONE1} : (uint64_t[]){CAP_NONE0, right});
}

static struct further refused_commands(const struct caps *c)
{
	struct further f = {true, 1, {1, OP_NOT_IN, 0, 0, 0, 0}};
	uint64_t *out = new_values(capsicum_ncommands);
	f.test.values = out;
	for (int i = 0; i < capsicum_ncommands; i++) {
		const struct command *cmd = &capsicum_commands[i];
		if (!contains(c, cmd->rights))
			continue;
		if (cmd->mask && (!has(c, CAP_FCNTL) || !(c->fcntls & 1U << cmd->mask)))
			continue;
		out[f.test.nvalues++] = (uint64_t)cmd->number;
	}
	return f;
}

static struct further refused_controls(const struct caps *c)
{
	if (!has(c, CAP_IOCTL) || (c->listed && c->nioctls == 0))
		return everything_lacks;
	if (!c->listed)
		return nothing_lacks;
	struct further f = {true, 1, {1, OP_NOT_IN, 0, 0, 0, 0}};
	uint64_t *out = new_values(c->nioctls);
	for (int i = 0; i < c->nioctls; i++)
		out[i] = c->ioctls[i];
	f.test.values = out;
	f.test.nvalues = (uint16_t)c->nioctls;
	return f;
}

/* A mark that neither adds nor removes does nothing. */
static struct further refused_marks(const struct caps *c)
{
	bool adds = has(c, CAP_INOTIFY_ADD), removes = has(c, CAP_INOTIFY_RM);
	if (adds && removes)
		return nothing_lacks;
	if (!adds && !removes)
		return everything_lacks;
	struct further f = {true, 1, is(1, adds ? FAN_MARK_REMOVE | FAN_MARK_FLUSH : FAN_MARK_ADD)};
	f.test.op = OP_ANY_OF;
	return f;
}

static struct further lacks(const struct demand *d, const struct caps *c, bool read_only)
{
	if (!(read_only ? d->read_only : d->writable))
		return nothing_lacks;
	switch (d->kind) {
	case DEMAND_COMMANDS:
		return refused_commands(c);
	case DEMAND_CONTROLS:
		return refused_controls(c);
	case DEMAND_MARKS:
		return refused_marks(c);
	case DEMAND_RIGHTS:
		if (contains(c, d->rights))
			return nothing_lacks;
	}
	return everything_lacks;
}

static bool same_further(const struct further *a, const struct further *b)
{
	return a->lacks == b->lacks && a->n == b->n && (a->n == 0 || same_test(&a->test, &b->test));
}

/* Whether every call that narrow holds for is one that wide holds for. */
static bool within(const struct clause *narrow, const struct clause *wide)
{
	for (int i = 0; i < wide->ntests; i++) {
		bool found = false;
		for (int j = 0; j < narrow->ntests && !found; j++)
			found = same_test(&wide->tests[i], &narrow->tests[j]);
		if (!found)
			return false;
	}
	return true;
}

/* Clauses of one call, while they are collected. */
#define MAX_LIST 64

struct collected {
	struct clause list[MAX_LIST];
	int n;
};

static void collect(struct collected *to, struct clause c)
{
	if (to->n == MAX_LIST)
		capsicum_overflow();
	else
		to->list[to->n++] = c;
}

/* Adds clauses of the tables, for descriptor fd. */
static void collect_all(struct collected *to, struct clauses from, int fd)
{
	for (int i = 0; i < from.n; i++) {
		struct clause c = from.list[i];
		struct test *copy = new_tests(c.ntests);
		for (int j = 0; j < c.ntests; j++) {
			copy[j] = c.tests[j];
			if (copy[j].nvalues == 1 && copy[j].values[0] == THE_FD)
				copy[j] = is(copy[j].arg, (uint64_t)fd);
		}
		c.tests = copy;
		collect(to, c);
	}
}

/* Adds what a filter for fd with c refuses of a call. */
static void collect_demands(struct collected *to, const struct call *call, int fd, const struct caps *c,
    const struct options *o)
{
	int first = to->n;
	for (int i = 0; i < call->ndemands; i++) {
		const struct demand *d = &call->demands[i];
		struct further f = lacks(d, c, o->read_only);
		if (!f.lacks)
			continue;
		if (o->had) {
			struct further had = lacks(d, o->had, o->had_read_only);
			if (same_further(&f, &had))
				continue;
		}
		struct test *list = new_tests(1 + d->ntests + f.n);
		list[0] = is(d->arg, (uint64_t)fd);
		for (int j = 0; j < d->ntests; j++)
			list[1 + j] = d->tests[j];
		if (f.n)
			list[1 + d->ntests] = f.test;
		struct clause clause = {list, (uint16_t)(1 + d->ntests + f.n), ENOTCAPABLE};
		bool covered = false;
		for (int j = first; j < to->n && !covered; j++)
			covered = within(&clause, &to->list[j]);
		if (!covered)
			collect(to, clause);
	}
}

/* All that a filter refuses of one call, in the order in which it is tried. */
static struct clauses of_call(const struct call *call, int fd, const struct caps *c, const struct options *o)
{
	static struct collected refused, out;
	refused.n = out.n = 0;
	if (o->mode && call->refused)
		return (struct clauses){0, 0};
	collect_demands(&refused, call, fd, c, o);
	if (!o->had)
		collect_all(&refused, o->mode ? call->own_mode : call->own, fd);
	if (o->first)
		collect_all(&refused, call->first, fd);
	if (o->poll && !has(c, CAP_EVENT))
		collect_all(&refused, call->poll, fd);
	if (refused.n == 0)
		return (struct clauses){0, 0};
	if (o->mode)
		collect_all(&out, call->left, fd);
	struct clause *list = new_clauses(out.n + refused.n);
	memcpy(list, out.list, (size_t)out.n * sizeof *list);
	memcpy(list + out.n, refused.list, (size_t)refused.n * sizeof *list);
	return (struct clauses){list, (uint16_t)(out.n + refused.n)};
}

/* Questions that the filter answers */

/*
 * Which indexes of OP_HAS are refused. Bits that no right has go with their
 * neighbours: fewer runs make a smaller filter.
 */
static int lacking_indexes(const struct caps *c, bool read_only, uint64_t *out)
{
	static const uint64_t all[2] = {CAP_ALL0, CAP_ALL1};
	int n = 0;
	for (int word = 0; word < 2; word++)
		for (int b = 0; b < RIGHT_BITS; b++) {
			uint64_t i = (uint64_t)(word * RIGHT_BITS + b), mask = 1ULL << b;
			bool follows = n > 0 && out[n - 1] == i - 1;
			if (!(c->rights[word] & mask) && (all[word] & mask || follows))
				out[n++] = i;
		}
	if (c->listed) {
		out[n++] = INDEX_ANY_IOCTL;
		if (c->nioctls == 0)
			out[n++] = INDEX_NO_IOCTL;
	}
	if (!read_only)
		out[n++] = INDEX_READ_ONLY;
	return n;
}

static bool member(const uint64_t *list, int n, uint64_t v)
{
	for (int i = 0; i < n; i++)
		if (list[i] == v)
			return true;
	return false;
}

#define MAX_INDEXES (INDEX_READ_ONLY + 1)

static void question(struct collected *to, int fd, uint64_t op, const struct test *more)
{
	struct test *list = new_tests(3);
	list[0] = is(1, (uint64_t)fd);
	list[1] = is(0, op);
	if (more)
		list[2] = *more;
	collect(to, (struct clause){list, more ? 3 : 2, ENOTCAPABLE});
}

static void ask_rights(struct collected *to, int fd, const struct caps *c, const struct caps *before,
    const struct options *o)
{
	uint64_t had[MAX_INDEXES], now[MAX_INDEXES];
	int nhad = lacking_indexes(before, o->had ? o->had_read_only : true, had);
	int n = lacking_indexes(c, o->read_only, now);
	uint64_t *out = new_values(n);
	struct test t = {2, OP_IN, 0, 0, out, 0};
	for (int i = 0; i < n; i++)
		if (!member(had, nhad, now[i]))
			out[t.nvalues++] = now[i];
	if (t.nvalues)
		question(to, fd, OP_HAS, &t);
}

static void ask_fcntls(struct collected *to, int fd, uint32_t mask, uint32_t before)
{
	if (mask == before)
		return;
	if (mask == 0) {
		question(to, fd, OP_HAS_FCNTL, NULL);
		return;
	}
	uint64_t *out = new_values(32);
	struct test t = {2, OP_NOT_IN, 0, 0, out, 0};
	for (int cmd = 0; cmd < 32; cmd++)
		if (mask & 1U << cmd)
			out[t.nvalues++] = (uint64_t)cmd;
	question(to, fd, OP_HAS_FCNTL, &t);
}

static struct clauses questions(int fd, const struct caps *c, const struct options *o)
{
	static const struct caps full = {{CAP_ALL0, CAP_ALL1}, CAP_FCNTL_ALL, false, 0, {0}};
	static struct collected to;
	const struct caps *before = o->had ? o->had : &full;
	to.n = 0;
	ask_rights(&to, fd, c, before, o);
	ask_fcntls(&to, fd, c->fcntls, before->fcntls);
	struct further f = refused_controls(c), had = refused_controls(before);
	if (f.lacks && !same_further(&f, &had)) {
		f.test.arg = 2;
		question(&to, fd, OP_HAS_IOCTL, f.n ? &f.test : NULL);
	}
	if (o->first) {
		struct test *t = new_tests(1);
		*t = is(0, OP_STATIC);
		collect(&to, (struct clause){t, 1, ENOTCAPABLE});
	}
	if (o->poll && !has(c, CAP_EVENT)) {
		struct test *t = new_tests(1);
		*t = is(0, OP_POLL);
		collect(&to, (struct clause){t, 1, ENOTCAPABLE});
	}
	struct clause *list = new_clauses(to.n);
	memcpy(list, to.list, (size_t)to.n * sizeof *list);
	return (struct clauses){list, (uint16_t)to.n};
}

/* Where numbers lead */

static int verdict(uint16_t error)
{
	if (error == 0)
		return pass;
	for (int i = 0; i < nverdicts; i++)
		if (verdicts[i].error == error)
			return verdicts[i].label;
	if (nverdicts == MAX_VERDICTS) {
		capsicum_overflow();
		return pass;
	}
	verdicts[nverdicts].error = error;
	return verdicts[nverdicts++].label = capsicum_label();
}

/* Where a call with these clauses is decided. */
static int at(struct clauses list)
{
	if (list.n == 0)
		return pass;
	if (list.list[0].ntests == 0)
		return verdict(list.list[0].error);
	for (int i = 0; i < nblocks; i++)
		if (same_clauses(blocks[i].list, list))
			return blocks[i].label;
	if (nblocks == MAX_BLOCKS) {
		capsicum_overflow();
		return pass;
	}
	blocks[nblocks] = (struct block){capsicum_label(), list};
	return blocks[nblocks++].label;
}

/*
 * Adds a run, as one with the last if both lead to the same code. Numbers that an
 * older filter refuses go with what is on both sides of them.
 */
static void add_run(uint32_t low, uint32_t high, int to)
{
	static bool skipped;
	if (low == 0)
		skipped = false;
	if (to == nowhere) {
		skipped = true;
		return;
	}
	struct run *last = nruns ? &runs[nruns - 1] : NULL;
	if (last && last->to == to && (skipped || last->high + 1 == low)) {
		last->high = high;
	} else if (nruns == MAX_RUNS) {
		capsicum_overflow();
	} else {
		runs[nruns++] = (struct run){low, high, to};
	}
	skipped = false;
}

static void number_runs(int fd, const struct caps *c, const struct options *o)
{
	bool guarded = !o->first || o->mode;
	int unlisted = verdict(o->first ? ENOSYS : 0), foreign = verdict(ENOTCAPABLE);
	if (guarded) {
		foreign = nowhere;
		if (!o->first)
			unlisted = nowhere;
	}
	uint32_t next = 0;
	for (int i = 0; i < capsicum_nnumbers; i++) {
		uint32_t nr = capsicum_numbers[i].number;
		int call = capsicum_numbers[i].call;
		if (nr > next)
			add_run(next, nr - 1, unlisted);
		add_run(nr, nr, call < 0 ? pass : at(of_call(&capsicum_calls[call], fd, c, o)));
		next = nr + 1;
	}
	add_run(next, REQUEST - 1, unlisted);
	add_run(REQUEST, REQUEST, at(questions(fd, c, o)));
	add_run(REQUEST + 1, X32_BIT - 1, unlisted);
	add_run(X32_BIT, ~0U, foreign);
	int n = 0;
	for (int i = 0; i < nruns; i++)
		if (runs[i].to != pass)
			runs[n++] = runs[i];
	nruns = n;
}

static int cost(const struct run *r)
{
	return r->low == r->high ? 1 : 2;
}

static void jump(int to)
{
	capsicum_emit(BPF_JMP | BPF_JA, 0, to, NEXT);
}

/* Compares the number with one run after the other. */
static void chain(const struct run *r, int n)
{
	for (int i = 0; i < n; i++) {
		int other = i == n - 1 ? pass : NEXT;
		if (r[i].low == r[i].high) {
			capsicum_emit(JUMP_EQUAL, r[i].low, r[i].to, other);
		} else if (r[i].high == ~0U) {
			capsicum_emit(JUMP_AT_LEAST, r[i].low, r[i].to, other);
		} else {
			/* What is below is in no run, because they ascend. */
			if (i == 0 || r[i - 1].low == r[i - 1].high || r[i - 1].high + 1 < r[i].low)
				capsicum_emit(JUMP_AT_LEAST, r[i].low, NEXT, pass);
			capsicum_emit(JUMP_ABOVE, r[i].high, other, r[i].to);
		}
	}
	if (n == 0)
		jump(pass);
}

static void tree(const struct run *r, int n)
{
	int total = 0, half = 0, mid = 0;
	for (int i = 0; i < n; i++)
		total += cost(&r[i]);
	if (total <= BUCKET) {
		chain(r, n);
		return;
	}
	while (half < total / 2)
		half += cost(&r[mid++]);
	if (mid == n) /* the last run is the only heavy one */
		mid--;
	int high = capsicum_label();
	capsicum_emit(JUMP_AT_LEAST, r[mid].low, high, NEXT);
	tree(r, mid);
	capsicum_bind(high);
	tree(r + mid, n - mid);
}

/* Code of clauses */

static void load(uint32_t off)
{
	if (loaded != off)
		capsicum_emit(BPF_LD | BPF_W | BPF_ABS, off, NEXT, NEXT);
	loaded = off;
}

/* Values as ranges, ascending. */
static int value_runs(const struct test *t, struct run *out)
{
	uint64_t *list = new_values(t->nvalues);
	int n = 0;
	for (int i = 0; i < t->nvalues; i++) {
		int j = i;
		for (; j > 0 && list[j - 1] > t->values[i]; j--)
			list[j] = list[j - 1];
		list[j] = t->values[i];
	}
	for (int i = 0; i < t->nvalues; i++) {
		uint32_t w = (uint32_t)list[i];
		if (n > 0 && out[n - 1].high + 1 >= w) {
			if (w > out[n - 1].high)
				out[n - 1].high = w;
			continue;
		}
		out[n++] = (struct run){w, w, 0};
	}
	nvalues -= t->nvalues;
	return n;
}

/* Goes to hold if the accumulator is one of the values. */
static void one_of(const struct test *t, int hold, int fail)
{
	static struct run list[MAX_VALUES];
	int n = value_runs(t, list), end = capsicum_label(), to = hold == NEXT ? end : hold;
	for (int i = 0; i < n; i++) {
		bool final = i == n - 1;
		int miss = final ? fail : NEXT;
		if (list[i].low == list[i].high) {
			capsicum_emit(JUMP_EQUAL, list[i].low, final ? hold : to, final ? miss : NEXT);
			continue;
		}
		capsicum_emit(JUMP_AT_LEAST, list[i].low, NEXT, fail == NEXT ? end : fail); /* values ascend */
		if (final)
			capsicum_emit(JUMP_ABOVE, list[i].high, miss, hold);
		else
			capsicum_emit(JUMP_ABOVE, list[i].high, NEXT, to);
	}
	if (n == 0)
		jump(fail);
	capsicum_bind(end);
}

/* Compares both halves of a register with one value. */
static void both_halves(const struct test *t, int hold, int fail)
{
	int miss = fail == NEXT ? capsicum_label() : fail;
	capsicum_emit(JUMP_EQUAL, (uint32_t)t->values[0], NEXT, miss);
	capsicum_emit(BPF_LD | BPF_W | BPF_ABS, OFF_HIGH(t->arg), NEXT, NEXT);
	capsicum_emit(JUMP_EQUAL, (uint32_t)(t->values[0] >> 32), hold, fail);
	if (fail == NEXT)
		capsicum_bind(miss);
	loaded = NOTHING;
}

/* Goes to hold or fail; one of the two may be the next instruction. */
static void emit_test(const struct test *t, int hold, int fail)
{
	if (t->op == OP_NOT_IN) {
		int swap = hold;
		hold = fail;
		fail = swap;
	}
	load(OFF_LOW(t->arg));
	if (t->mask) {
		capsicum_emit(BPF_ALU | BPF_AND | BPF_K, t->mask, NEXT, NEXT);
		loaded = NOTHING;
	}
	switch (t->op) {
	case OP_ABOVE:
		capsicum_emit(JUMP_ABOVE, (uint32_t)t->values[0], hold, fail);
		break;
	case OP_ANY_OF:
		capsicum_emit(JUMP_ANY, (uint32_t)t->values[0], hold, fail);
		break;
	case OP_NONE_OF:
		capsicum_emit(JUMP_ANY, (uint32_t)t->values[0], fail, hold);
		break;
	default:
		if (t->wide)
			both_halves(t, hold, fail);
		else
			one_of(t, hold, fail);
	}
}

static void emit_clauses(struct clauses list, int otherwise);

/* Clauses that follow test t. */
static void emit_group(const struct test *t, struct clauses group, bool final, int otherwise)
{
	int fail = final ? otherwise : NEXT;
	if (group.list[0].ntests == 0) { /* nothing more to test */
		emit_test(t, verdict(group.list[0].error), fail);
		return;
	}
	bool bind = fail == NEXT;
	if (bind)
		fail = capsicum_label();
	emit_test(t, NEXT, fail);
	emit_clauses(group, fail);
	if (bind) {
		capsicum_bind(fail);
		loaded = NOTHING;
	}
}

/* Ends at otherwise if no clause holds. Clauses in a row that begin with the same test share it. */
static void emit_clauses(struct clauses list, int otherwise)
{
	while (list.n > 0) {
		if (list.list[0].ntests == 0) {
			jump(verdict(list.list[0].error));
			return;
		}
		const struct test *t = &list.list[0].tests[0];
		int n = 1;
		while (n < list.n && list.list[n].ntests > 0 && same_test(&list.list[n].tests[0], t))
			n++;
		struct clause *group = new_clauses(n);
		for (int i = 0; i < n; i++)
			group[i] = (struct clause){list.list[i].tests + 1, (uint16_t)(list.list[i].ntests - 1),
			    list.list[i].error};
		list.list += n;
		list.n = (uint16_t)(list.n - n);
		emit_group(t, (struct clauses){group, (uint16_t)n}, list.n == 0, otherwise);
	}
}

static int size(struct clauses list)
{
	int n = 0;
	for (int i = 0; i < list.n; i++)
		n += list.list[i].ntests;
	return n;
}

/*
 * Which clause of list is all that later consists of, and may be tried last because all
 * answer the same; -1 for none.
 */
static int ending(struct clauses list, struct clauses later)
{
	if (later.n != 1 || list.n < 2)
		return -1;
	for (int i = 0; i < list.n; i++)
		if (list.list[i].error != later.list[0].error)
			return -1;
	for (int i = 0; i < list.n; i++)
		if (same_clause(&list.list[i], &later.list[0]))
			return i;
	return -1;
}

static struct clauses without(struct clauses list, int i)
{
	struct clause *out = new_clauses(list.n - 1);
	memcpy(out, list.list, (size_t)i * sizeof *out);
	memcpy(out + i, list.list + i + 1, (size_t)(list.n - 1 - i) * sizeof *out);
	return (struct clauses){out, (uint16_t)(list.n - 1)};
}

/*
 * Writes the blocks. One that has all of a later one's only clause ends in that one, so
 * the simplest come last.
 */
static void emit_blocks(void)
{
	for (int i = 1; i < nblocks; i++) {
		struct block b = blocks[i];
		int j = i;
		for (; j > 0 && size(blocks[j - 1].list) < size(b.list); j--)
			blocks[j] = blocks[j - 1];
		blocks[j] = b;
	}
	for (int i = 0; i < nblocks; i++) {
		struct clauses list = blocks[i].list;
		int otherwise = pass;
		capsicum_bind(blocks[i].label);
		loaded = NOTHING;
		for (int j = i + 1; j < nblocks; j++) {
			int last = ending(list, blocks[j].list);
			if (last >= 0) {
				list = without(list, last);
				otherwise = blocks[j].label;
				break;
			}
		}
		emit_clauses(list, otherwise);
	}
}

int capsicum_compile(int fd, const struct caps *c, const struct options *o)
{
	if (fd < 0)
		return -EBADF;
	nvalues = ntests = nclauses = nruns = nblocks = nverdicts = 0;
	capsicum_begin();
	pass = capsicum_label();
	nowhere = capsicum_label();
	capsicum_bind(nowhere); /* never jumped to */
	number_runs(fd, c, o);
	if (o->first && !o->mode) {
		capsicum_emit(BPF_LD | BPF_W | BPF_ABS, OFF_ARCH, NEXT, NEXT);
		capsicum_emit(JUMP_EQUAL, capsicum_arch, NEXT, verdict(ENOTCAPABLE));
	}
	capsicum_emit(BPF_LD | BPF_W | BPF_ABS, OFF_NR, NEXT, NEXT);
	tree(runs, nruns);
	emit_blocks();
	for (int i = 0; i < nverdicts; i++) {
		capsicum_bind(verdicts[i].label);
		capsicum_emit(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | verdicts[i].error, NEXT, NEXT);
	}
	capsicum_bind(pass);
	capsicum_emit(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, NEXT, NEXT);
	return capsicum_assemble();
}
