/*
 * Compiles filters for Go's test, which compares them with its own. A line is a case:
 * descriptor, options, caps and, if there are any, the caps that it had.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../src/static.h"

static unsigned long long number(void)
{
	unsigned long long v;
	if (scanf("%llx", &v) != 1)
		exit(0); /* the end */
	return v;
}

static void read_caps(struct caps *c)
{
	c->rights[0] = number();
	c->rights[1] = number();
	c->fcntls = (uint32_t)number();
	c->listed = number() != 0;
	c->nioctls = (int)number();
	if (c->nioctls > MAX_IOCTLS)
		exit(1);
	for (int i = 0; i < c->nioctls; i++)
		c->ioctls[i] = (uint32_t)number();
}

int main(void)
{
	for (;;) {
		static struct caps caps, had;
		int fd = (int)number();
		struct options o = {0};
		o.mode = number();
		o.read_only = number();
		o.first = number();
		o.poll = number();
		read_caps(&caps);
		if (number()) {
			o.had_read_only = number();
			read_caps(&had);
			o.had = &had;
		}
		int n = capsicum_compile(fd, &caps, &o);
		printf("%d", n);
		for (int i = 0; i < n; i++) {
			const struct sock_filter *in = &capsicum_room[i];
			printf(" %x,%x,%x,%x", in->code, in->jt, in->jf, in->k);
		}
		printf("\n");
	}
}
