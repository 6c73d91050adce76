/* Names that change while they are used: rows 1, 2, 4, 7, 8. */
#include "ops.h"

#include <stddef.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/xattr.h>

static volatile int stop;
static volatile char *flipped;	/* the byte that makes one name the other */
static char to_granted, to_secret;

static unsigned cheap(unsigned *seed) { return *seed = *seed * 1103515245u + 12345u, *seed >> 16; }

/* Short pauses hit between two system calls, long ones between look and act. */
static void flip_forever(unsigned seed)
{
	while (!stop) {
		*flipped = to_secret;
		for (unsigned n = cheap(&seed) % 4096; n-- && !stop;)
			__asm__ volatile("pause");
		*flipped = to_granted;
		for (unsigned n = cheap(&seed) % 4096; n-- && !stop;)
			__asm__ volatile("pause");
		if (cheap(&seed) % 8 == 0)
			usleep(cheap(&seed) % 80);
	}
}

static void *flipper(void *seed) { flip_forever((unsigned)(uintptr_t)seed); return NULL; }
static int flipper_peer(void *seed) { flip_forever((unsigned)(uintptr_t)seed); return 0; }

/*
 * memory returns two pages for the name as kind says, and in *alias where a
 * second process or mapping finds the same bytes.
 */
static char *memory(const char *kind, char **alias)
{
	size_t n = 8192;
	char *p = MAP_FAILED;

	if (strcmp(kind, "shm") == 0) {
		int id = shmget(IPC_PRIVATE, n, IPC_CREAT | 0600);

		if (id >= 0) {
			p = shmat(id, NULL, 0);
			*alias = shmat(id, NULL, 0);
			shmctl(id, IPC_RMID, NULL);
			return p == (void *)-1 ? NULL : p;
		}
		return NULL;
	}
	if (strcmp(kind, "memfd") == 0) {
		int fd = memfd_create("name", MFD_CLOEXEC);

		if (fd < 0 || ftruncate(fd, n) < 0)
			return NULL;
		p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		*alias = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		return p;
	}
	p = mmap(NULL, n, PROT_READ | PROT_WRITE, (strcmp(kind, "shared") == 0 ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
	*alias = p;
	return p == MAP_FAILED ? NULL : p;
}

static pid_t pids[2];

/* settle_flipped stops the flippers and leaves the ungranted name. */
static void settle_flipped(void)
{
	stop = 1;
	for (int i = 0; i < 2; i++)
		if (pids[i] > 0) {
			kill(pids[i], SIGKILL);
			wait_for(pids[i]);
		} else {
			usleep(500);
		}
	*flipped = to_secret;
}

/* start_flippers starts two of whatever can reach the memory: threads, peers or processes. */
static int start_flippers(const char *kind)
{
	pthread_t t;

	stop = 0;
	for (int i = 0; i < 2; i++) {
		pids[i] = 0;
		if (strcmp(kind, "private") == 0) {
			if (pthread_create(&t, NULL, flipper, (void *)(uintptr_t)(i + 1)) != 0)
				return -1;
			pthread_detach(t);
		} else if (strcmp(kind, "vm") == 0) {
			char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			pids[i] = clone(flipper_peer, stack + 65536, CLONE_VM | SIGCHLD, (void *)(uintptr_t)(i + 1));
		} else if ((pids[i] = fork()) == 0) {
			flip_forever(i + 1);
			_exit(0);
		}
		if (pids[i] < 0)
			return -1;
	}
	return 0;
}

/*
 * attempt uses path for slice seconds and reports. The last tries are made when
 * settle has put the ungranted name into place for good.
 */
static void attempt(const struct op *op, const char *path, const char *granted, double slice, void (*settle)(void))
{
	long n = 0, hits = 0, fine = 0;
	int last = 0, settled = 0;

	for (double end = now() + slice; settled < 3 && hits == 0; n++) {
		int r;

		if (n >= 16 && now() > end && settled++ == 0)
			settle();
		prepare(op, granted);
		errno = 0;
		r = op->run(path);
		if (r == HIT)
			hits++;
		else if (r == 0)
			fine++;
		else
			last = errno;
	}
	note("=%s n=%ld fine=%ld", op->name, n, fine);
	if (op->flags & READS)
		say(hits ? 0 : last ? last : ENODATA, "%s", op->name);
	else
		say(last, "~%s", op->name);
}

static int count(int flags)
{
	int n = 0;

	for (const struct op *op = ops; op->name; op++)
		n += (op->flags & flags) == flags;
	return n;
}

/*
 * race KIND T [rel]: T/g is granted and T/s is not; every call gets a name
 * that flips between the two trees in memory of that kind.
 */
int cmd_race(int argc, char **argv)
{
	const char *kind = argv[1], *tree = argv[2];
	int relative = argc > 3;
	size_t at;
	char *alias = NULL, *p = memory(kind, &alias), granted[PATH_MAX];
	double slice = seconds / count(0);

	if (p == NULL) {
		say(errno, "=memory %s", kind);
		return 0;
	}
	snprintf(op_own, sizeof op_own, "%s/g", tree);
	if (chdir(op_own) < 0)
		die("chdir");
	op_sa = (void *)p;
	op_sa->sun_family = AF_UNIX;
	p = op_sa->sun_path;
	for (const struct op *op = ops; op->name; op++) {
		if (op->leaf)
			snprintf(granted, sizeof granted, "%s/g/%s", tree, op->leaf);
		else
			snprintf(granted, sizeof granted, "%s/g/m-%s", tree, op->name);
		if (relative)
			strcpy(p, "../g"), strcat(p, granted + strlen(tree) + 2);
		else
			strcpy(p, granted);
		at = relative ? 3 : strlen(tree) + 1;
		flipped = alias + offsetof(struct sockaddr_un, sun_path) + at;
		to_granted = 'g', to_secret = 's';
		if (start_flippers(kind) < 0)
			die("start flippers");
		attempt(op, p, granted, slice, settle_flipped);
		if (!stop)
			settle_flipped();
	}
	return 0;
}

static char swap_a[PATH_MAX], swap_b[PATH_MAX];

static void *swapper(void *arg)
{
	unsigned seed = 7;

	(void)arg;
	while (!stop) {
		syscall(SYS_renameat2, AT_FDCWD, swap_a, AT_FDCWD, swap_b, 2);
		if (cheap(&seed) % 4 == 0)
			usleep(cheap(&seed) % 60);
	}
	return NULL;
}

static pthread_t swapping;

/* settle_swapped stops the swapper and leaves the symlink that leads out. */
static void settle_swapped(void)
{
	char to[PATH_MAX] = "";

	stop = 1;
	pthread_join(swapping, NULL);
	if (readlink(swap_a, to, sizeof to - 1) < 0 || (strcmp(to, "../s") != 0 && strstr(to, "/s/") == NULL))
		syscall(SYS_renameat2, AT_FDCWD, swap_a, AT_FDCWD, swap_b, 2);
}

/* swap_ops runs the ops with flags on name while a and b change places. */
static void swap_op(const struct op *op, const char *name, double slice)
{
	strncpy(op_sa->sun_path, name, sizeof op_sa->sun_path - 1);
	stop = 0;
	if (pthread_create(&swapping, NULL, swapper, NULL) != 0)
		die("thread");
	attempt(op, op_sa->sun_path, name, slice, settle_swapped);
	if (!stop)
		settle_swapped();
}

/* furnish makes g/a a directory with everything that is aimed at by name, and g/b a symlink to T/s. */
static void furnish(const char *tree)
{
	static const char *const leaves[] = { "f", "l", "sock", "dsock" };
	char from[PATH_MAX];

	if (mkdir(swap_a, 0755) < 0 || symlink("../s", swap_b) < 0)
		die("furnish");
	for (unsigned i = 0; i < sizeof leaves / sizeof *leaves; i++) {
		snprintf(from, sizeof from, "%s/g/%s", tree, leaves[i]);
		if (link(from, join(swap_a, leaves[i])) < 0)
			die(from);
	}
	mkdir(join(swap_a, "d"), 0755);
}

/*
 * swap T inner|final: g/a is by turns a directory (or file) and a symlink that
 * leads to T/s.
 */
int cmd_swap(int argc, char **argv)
{
	static struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *tree = argv[1];
	int inner = strcmp(argv[2], "inner") == 0;
	double slice = seconds / count(inner ? 0 : FOLLOWS);

	(void)argc;
	op_sa = &sa;
	snprintf(op_own, sizeof op_own, "%s/g", tree);
	if (chdir(op_own) < 0)
		die("chdir");
	snprintf(swap_a, sizeof swap_a, "%s/g/a", tree);
	snprintf(swap_b, sizeof swap_b, "%s/g/b", tree);
	if (inner)
		furnish(tree);
	for (const struct op *op = ops; op->name; op++) {
		char leaf[300], name[PATH_MAX], target[PATH_MAX];

		snprintf(leaf, sizeof leaf, op->leaf ? "%s" : "m-%s", op->leaf ? op->leaf : op->name);
		if (!inner && !(op->flags & FOLLOWS))
			continue;
		if (inner) {
			snprintf(name, sizeof name, "%s/%s", swap_a, leaf);
		} else {
			unlink(swap_a), unlink(swap_b);
			snprintf(target, sizeof target, "%s/s/%s", tree, leaf);
			prepare(op, join(op_own, leaf));
			if (symlink(leaf, swap_a) < 0 || symlink(target, swap_b) < 0)
				die("symlink");
			strcpy(name, swap_a);
		}
		swap_op(op, name, slice);
	}
	return 0;
}

static void *mover(void *arg)
{
	const char *tree = arg;
	char deep[PATH_MAX], flat[PATH_MAX];

	snprintf(deep, sizeof deep, "%s/g/d1/d2/d3", tree);
	snprintf(flat, sizeof flat, "%s/g/d3", tree);
	while (!stop) {
		rename(deep, flat);
		rename(flat, deep);
	}
	return NULL;
}

/*
 * climb T: the directory that ".." is taken from moves up while the walk goes
 * through it, so that the same number of ".." leads further.
 */
int cmd_climb(int argc, char **argv)
{
	static const char *const up[] = { "../../../f", "../../../../s/f", "../../../../../../../../etc/passwd" };
	const char *tree = argv[1];
	pthread_t t;
	char name[PATH_MAX], made[PATH_MAX];

	(void)argc;
	for (int i = 0; i < 3; i++) {
		static const char *const dirs[] = { "g/d1", "g/d1/d2", "g/d1/d2/d3" };

		snprintf(made, sizeof made, "%s/%s", tree, dirs[i]);
		if (mkdir(made, 0755) < 0 && errno != EEXIST)
			die("mkdir");
	}
	if (pthread_create(&t, NULL, mover, (void *)tree) != 0)
		die("thread");
	for (int i = 0; i < 3; i++) {
		long n = 0, hits = 0;
		int last = ENODATA;

		snprintf(name, sizeof name, "%s/g/d1/d2/d3/%s", tree, up[i]);
		for (double end = now() + seconds / 6; now() < end && !hits; n++) {
			int fd = open(name, O_RDONLY | O_CLOEXEC);
			char b[5] = "";

			if (fd < 0) {
				last = errno;
				continue;
			}
			if (read(fd, b, 5) == 5)
				hits += memcmp(b, "SECRE", 5) == 0 || (i == 2 && memchr(b, ':', 5));
			close(fd);
		}
		note("=climb %s n=%ld", up[i], n);
		if (i > 0)
			say(hits ? 0 : last, "climb %s", up[i]);
	}
	/* The same from a descriptor that is moved while it is the start. */
	snprintf(name, sizeof name, "%s/g/d1/d2/d3", tree);
	for (int i = 1; i < 3; i++) {
		long hits = 0;
		int last = ENODATA;

		for (double end = now() + seconds / 6; now() < end && !hits;) {
			int d = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;
			char b[5] = "";

			if (d < 0)
				continue;
			fd = openat(d, up[i], O_RDONLY | O_CLOEXEC);
			if (fd < 0)
				last = errno;
			else if (read(fd, b, 5) == 5)
				hits += memcmp(b, "SECRE", 5) == 0 || (i == 2 && memchr(b, ':', 5));
			if (fd >= 0)
				close(fd);
			close(d);
		}
		say(hits ? 0 : last, "climb-at %s", up[i]);
	}
	stop = 1;
	pthread_join(t, NULL);
	return 0;
}

/*
 * twice RO RW: a symlink in the writable grant leads by turns to a file that
 * may be written and to one that may only be read; what is judged must be what
 * is opened.
 */
int cmd_twice(int argc, char **argv)
{
	char rd[PATH_MAX], wr[PATH_MAX];
	struct stat want, st;
	long hits = 0, n = 0;
	int last = ENODATA;
	pthread_t t;

	(void)argc;
	snprintf(rd, sizeof rd, "%s/f", argv[1]);
	snprintf(wr, sizeof wr, "%s/f", argv[2]);
	snprintf(swap_a, sizeof swap_a, "%s/a", argv[2]);
	snprintf(swap_b, sizeof swap_b, "%s/b", argv[2]);
	if (stat(rd, &want) < 0 || symlink(rd, swap_a) < 0 || symlink(wr, swap_b) < 0)
		die("prepare");
	if (pthread_create(&t, NULL, swapper, NULL) != 0)
		die("thread");
	for (double end = now() + seconds / 2; now() < end && !hits; n++) {
		int fd = open(swap_a, O_RDWR | O_CLOEXEC);

		if (fd < 0) {
			last = errno;
			continue;
		}
		if (fstat(fd, &st) == 0 && st.st_ino == want.st_ino && st.st_dev == want.st_dev)
			hits++;
		close(fd);
	}
	say(hits ? 0 : last, "open-rdwr-of-read-only");
	hits = 0, last = ENODATA;
	for (double end = now() + seconds / 2; now() < end && !hits;) {
		if (truncate(swap_a, 1) < 0)
			last = errno;
		hits = stat(rd, &st) == 0 && st.st_size == 1;
	}
	say(hits ? 0 : last, "truncate-read-only");
	stop = 1;
	pthread_join(t, NULL);
	return 0;
}
