/* The calls that take a name, each as one attempt on the name in path. */
#ifndef OPS_H
#define OPS_H
#include "victim.h"

enum {
	READS = 1,	/* a hit shows in what comes back: HIT, else the harness looks at s/m-NAME */
	FOLLOWS = 2,	/* the last component is followed when it is a symlink */
	MAKES = 4,	/* the object must not be there before */
	DIR_ = 8,	/* the object is a directory */
};
#define HIT 1

struct op {
	const char *name;
	int flags;
	const char *leaf;	/* aimed at; NULL for m-NAME */
	int (*run)(const char *path);	/* HIT, 0, or -1 with errno */
};
extern const struct op ops[];

/* The sockaddr whose sun_path the flipped name is, for bind and connect. */
extern struct sockaddr_un *op_sa;
/* A directory of the attacker's own, for the other name of two. */
extern char op_own[PATH_MAX];
/* prepare puts the object of op under name (in the granted tree) into the state it needs. */
void prepare(const struct op *op, const char *name);
#endif
