/* Jumps of any length: package cbpf's builder. */
#include <errno.h>

#include "static.h"

#define MAX_LABELS 8192
#define UNBOUND (-1)

struct item {
	struct sock_filter in;
	int t, f;	    /* labels; an unconditional jump uses t */
	unsigned char far[2]; /* an unconditional jump is needed for t, for f */
	int at;
};

static struct item items[MAX_FILTER + 1];
static int nitems, places[MAX_LABELS], nlabels;
static bool overflow;

void capsicum_begin(void)
{
	nitems = nlabels = 0;
	overflow = false;
}

void capsicum_overflow(void)
{
	overflow = true;
}

int capsicum_label(void)
{
	if (nlabels == MAX_LABELS) {
		overflow = true;
		return 0;
	}
	places[nlabels] = UNBOUND;
	return nlabels++;
}

void capsicum_bind(int label)
{
	places[label] = nitems;
}

void capsicum_emit(uint16_t code, uint32_t k, int t, int f)
{
	if (nitems == MAX_FILTER) {
		overflow = true;
		return;
	}
	items[nitems++] = (struct item){{code, 0, 0, k}, t, f, {0, 0}, 0};
}

static bool conditional(const struct item *it)
{
	return BPF_CLASS(it->in.code) == BPF_JMP && BPF_OP(it->in.code) != BPF_JA;
}

static int layout(void)
{
	int total = 0;
	for (int i = 0; i < nitems; i++) {
		items[i].at = total;
		total += 1 + items[i].far[0] + items[i].far[1];
	}
	items[nitems].at = total;
	return total;
}

static int distance(int i, int label)
{
	return items[label == NEXT ? i + 1 : places[label]].at - items[i].at - 1;
}

/* Turns jumps into long ones, which moves others out of reach, until none is. */
static int place(void)
{
	for (;;) {
		int total = layout();
		bool changed = false;
		if (total > MAX_FILTER)
			return -ENOMEM;
		for (int i = 0; i < nitems; i++) {
			if (!conditional(&items[i]))
				continue;
			int labels[2] = {items[i].t, items[i].f};
			for (int side = 0; side < 2; side++)
				if (!items[i].far[side] && distance(i, labels[side]) > 255)
					items[i].far[side] = changed = true;
		}
		if (!changed)
			return total;
	}
}

static int write_conditional(int i)
{
	struct sock_filter *out = &capsicum_room[items[i].at];
	int labels[2] = {items[i].t, items[i].f}, jumps = 0;
	uint8_t reach[2];
	for (int side = 0; side < 2; side++) {
		int d = distance(i, labels[side]);
		if (d < 0)
			return -EINVAL;
		if (items[i].far[side]) {
			out[1 + jumps] = (struct sock_filter){BPF_JMP | BPF_JA, 0, 0, (uint32_t)(d - jumps - 1)};
			d = jumps++;
		}
		reach[side] = (uint8_t)d;
	}
	*out = (struct sock_filter){items[i].in.code, reach[0], reach[1], items[i].in.k};
	return 0;
}

/* Writes the filter to capsicum_room; returns its length. */
int capsicum_assemble(void)
{
	if (overflow)
		return -ENOMEM;
	for (int l = 0; l < nlabels; l++)
		if (places[l] == UNBOUND)
			return -EINVAL;
	int total = place();
	if (total < 0)
		return total;
	for (int i = 0; i < nitems; i++) {
		struct sock_filter *out = &capsicum_room[items[i].at];
		*out = items[i].in;
		if (conditional(&items[i])) {
			int r = write_conditional(i);
			if (r < 0)
				return r;
		} else if (items[i].in.code == (BPF_JMP | BPF_JA)) {
			int d = distance(i, items[i].t);
			if (d < 0)
				return -EINVAL;
			out->k = (uint32_t)d;
		}
	}
	return total;
}
