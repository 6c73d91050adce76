/* Two names in one call, grants side by side, and what errors tell: rows 38, 39; and lending privilege. */
#include "ops.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static const char *tree;

static const char *in(const char *name) { return join(tree, name); }

static void made(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd >= 0)
		close(fd);
}

#define cross(what, call) (made(in("g/mine")), unlink(in("g/new")), say(result(call), what))
#define at(call, ...) syscall(SYS_##call, AT_FDCWD, __VA_ARGS__)

/* cross T: g is writable, r is read-only, s is not granted; c-N are objects for one attempt each. */
int cmd_cross(int argc, char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timespec ts[2] = { { 1, 0 }, { 2, 0 } };
	int fd, s;

	(void)argc;
	tree = argv[1];
	/* Out of what is not granted. */
	cross("rename s-g", rename(in("s/c-1"), in("g/new")));
	cross("rename r-g", rename(in("r/c-1"), in("g/new")));
	cross("exchange s-g", at(renameat2, in("s/c-2"), AT_FDCWD, in("g/mine"), 2));
	cross("exchange r-g", at(renameat2, in("r/c-2"), AT_FDCWD, in("g/mine"), 2));
	cross("link s-g", link(in("s/c-3"), in("g/new")));
	cross("link r-g", link(in("r/c-3"), in("g/new")));
	/* Into it. */
	cross("rename g-s", rename(in("g/mine"), in("s/n-1")));
	cross("rename g-r", rename(in("g/mine"), in("r/n-1")));
	cross("rename g-s-over", rename(in("g/mine"), in("s/c-4")));
	cross("rename g-r-over", rename(in("g/mine"), in("r/c-4")));
	cross("noreplace g-s", at(renameat2, in("g/mine"), AT_FDCWD, in("s/n-2"), 1));
	cross("exchange g-r", at(renameat2, in("g/mine"), AT_FDCWD, in("r/c-5"), 2));
	cross("whiteout g-s", at(renameat2, in("g/mine"), AT_FDCWD, in("s/n-w"), 4));
	cross("link g-s", link(in("g/mine"), in("s/n-3")));
	cross("link g-r", link(in("g/mine"), in("r/n-3")));
	cross("symlink s", symlink("x", in("s/n-4")));
	cross("symlink r", symlink("x", in("r/n-4")));
	/* Within what may only be read. */
	cross("rename r-r", rename(in("r/c-6"), in("r/n-6")));
	cross("link r-r", link(in("r/c-7"), in("r/n-7")));
	cross("exchange r-r", at(renameat2, in("r/c-8"), AT_FDCWD, in("r/c-9"), 2));
	/* By descriptor instead of name. */
	fd = open(in("r/c-10"), O_RDONLY | O_CLOEXEC);
	cross("linkat-empty r-g", syscall(SYS_linkat, fd, "", AT_FDCWD, in("g/new"), AT_EMPTY_PATH));
	cross("linkat-proc r-g", at(linkat, in("../proc/self/fd/none"), AT_FDCWD, in("g/new"), AT_SYMLINK_FOLLOW));
	{
		char p[40];

		snprintf(p, sizeof p, "/proc/self/fd/%d", fd);
		cross("linkat-fd-link r-g", at(linkat, p, AT_FDCWD, in("g/new"), AT_SYMLINK_FOLLOW));
		say(result(open(p, O_RDWR | O_CLOEXEC)), "reopen-writable r");
		say(result(truncate(p, 0)), "truncate-fd-link r");
	}
	say(result(fchmod(fd, 0600)), "fchmod r");
	say(result(fchown(fd, getuid(), getgid())), "fchown r");
	say(result(futimens(fd, ts)), "futimens r");
	say(result(fsetxattr(fd, "user.x", "v", 1, 0)), "fsetxattr r");
	say(result(fremovexattr(fd, "user.k")), "fremovexattr r");
	say(result(syscall(SYS_fchmodat, AT_FDCWD, in("r/c-10"), 0600)), "fchmodat r");
	fd = open(in("r/c-11"), O_PATH | O_CLOEXEC);
	say(result(syscall(452, fd, "", 0700, AT_EMPTY_PATH)), "fchmodat2-empty r");
	say(result(fchownat(fd, "", getuid(), getgid(), AT_EMPTY_PATH)), "fchownat-empty r");
	say(result(utimensat(fd, "", ts, AT_EMPTY_PATH)), "utimensat-empty r");
	cross("linkat-empty-path r-g", syscall(SYS_linkat, fd, "", AT_FDCWD, in("g/new"), AT_EMPTY_PATH));
	fd = open(in("r"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	say(result(openat(fd, "n-20", O_WRONLY | O_CREAT, 0600)), "create-at r");
	say(result(mkdirat(fd, "n-21", 0700)), "mkdir-at r");
	say(result(unlinkat(fd, "c-12", 0)), "unlink-at r");
	say(result(openat(fd, ".", O_TMPFILE | O_WRONLY, 0600)), "tmpfile r");
	say(result(fchmod(fd, 0755)), "fchmod-dir r");
	say(result(fsetxattr(fd, "user.x", "v", 1, 0)), "fsetxattr-dir r");
	fd = open(in("g"), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0) {
		char p[40];

		snprintf(p, sizeof p, "/proc/self/fd/%d", fd);
		say(result(at(linkat, p, AT_FDCWD, in("s/n-22"), AT_SYMLINK_FOLLOW)), "tmpfile-link s");
		say(result(at(linkat, p, AT_FDCWD, in("r/n-22"), AT_SYMLINK_FOLLOW)), "tmpfile-link r");
		say(result(at(linkat, p, AT_FDCWD, in("g/t-22"), AT_SYMLINK_FOLLOW)), "+tmpfile-link g");
	} else {
		say(errno, "+tmpfile g");
	}
	for (int i = 0; i < 2; i++) {
		snprintf(sa.sun_path, sizeof sa.sun_path, "%s/%s", tree, i ? "r/n-23" : "s/n-23");
		s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		say(result(bind(s, (void *)&sa, sizeof sa)), "bind %s", i ? "r" : "s");
		close(s);
	}
	/* Device nodes, and what holds the grants. */
	say(result(mknod(in("g/dev"), S_IFCHR | 0666, makedev(1, 1))), "mknod-char g");
	say(result(mknod(in("g/blk"), S_IFBLK | 0666, makedev(254, 0))), "mknod-block g");
	say(result(mknod(in("g/wht"), S_IFCHR | 0666, makedev(0, 0))), "=mknod-whiteout g");
	say(result(open(in("g/device"), O_RDONLY)), "=open-device g");
	say(result(rename(in("g"), in("g-moved"))), "rename-grant");
	rename(in("g-moved"), in("g"));
	say(result(rename(in("r"), in("g/r-moved"))), "rename-grant-into");
	rename(in("g/r-moved"), in("r"));
	say(result(mkdir(in("n-30"), 0755)), "mkdir-beside");
	made(in("n-31"));
	say(access(in("n-31"), F_OK) < 0 ? ENOENT : 0, "create-beside");
	say(result(symlink("s", in("n-32"))), "symlink-beside");
	say(result(unlink(in("c-33"))), "unlink-beside");
	say(result(chmod(tree, 0711)), "chmod-parent");
	chmod(tree, 0755);
	say(result(rmdir(in("e"))), "rmdir-grant");
	/* A symlink in the writable grant that leads out. */
	say(result(symlink(in("s/f"), in("g/out"))), "+symlink-out");
	say(open_secret(in("g/out")), "follow-out");
	say(result(symlink("../s/f", in("g/out2"))), "+symlink-out-relative");
	say(open_secret(in("g/out2")), "follow-out-relative");
	say(result(symlink(in("s/n-40"), in("g/out3"))), "+symlink-out-dangling");
	fd = open(in("g/out3"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	say(result(fd), "create-through-dangling");
	say(result(symlink(in("r/c-13"), in("g/out4"))), "+symlink-to-read-only");
	fd = open(in("g/out4"), O_WRONLY | O_CLOEXEC);
	say(result(fd), "write-through-symlink r");
	say(result(truncate(in("g/out4"), 0)), "truncate-through-symlink r");
	say(result(chmod(in("g/out4"), 0600)), "chmod-through-symlink r");
	return 0;
}

/* readonly T: every call that changes something, on r. */
int cmd_readonly(int argc, char **argv)
{
	static struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)argc;
	tree = argv[1];
	strcpy(op_own, in("g"));
	op_sa = &sa;
	for (const struct op *op = ops; op->name; op++) {
		char name[200];

		if (op->flags & READS || op->leaf)
			continue;
		snprintf(name, sizeof name, "r/m-%s", op->name);
		strcpy(sa.sun_path, in(name));
		say(op->run(in(name)) < 0 ? errno : 0, "~%s", op->name);
	}
	return 0;
}

/* tell compares what op says of two names, one of which exists, and how long it takes to say it. */
static void tell(const struct op *op, const char *what, const char *there, const char *missing)
{
	int e[2] = { 0 };
	double took[2] = { 0 };
	const char *names[2] = { there, missing };

	for (int i = 0; i < 2; i++) {
		strncpy(op_sa->sun_path, names[i], sizeof op_sa->sun_path - 1);
		errno = 0;
		e[i] = op->run(op_sa->sun_path) < 0 ? errno : 0;
	}
	say(e[0] != e[1] ? 0 : e[0], "%s %s", op->name, what);
	if (e[0] != e[1])
		note("=%s %s: %s %s", op->name, what, errname(e[0]), errname(e[1]));
	if ((strcmp(op->name, "open") != 0 && strcmp(op->name, "stat") != 0) || strcmp(what, "object") != 0)
		return;
	for (int k = 0; k < 400; k++) {
		double t = now();

		op->run(names[k % 2]);
		took[k % 2] += now() - t;
	}
	note("=time %s %s: %.2f us %.2f us", op->name, what, took[0] / 200 * 1e6, took[1] / 200 * 1e6);
}

/* oracle T: what errors tell of names that are not granted. */
int cmd_oracle(int argc, char **argv)
{
	static struct sockaddr_un sa = { .sun_family = AF_UNIX };
	static const char *const host[][2] = {
		{ "/etc/shadow", "/etc/nope" }, { "/home", "/nope" }, { "/var/lib", "/var/nope" },
		{ "/root/.bashrc", "/root/.nope" }, { "/usr/bin/env", "/usr/bin/nope" },
		{ "/sys/kernel", "/sys/nope" }, { "/dev/vda", "/dev/nope" },
	};

	(void)argc;
	tree = argv[1];
	strcpy(op_own, in("g"));
	op_sa = &sa;
	if (symlink(in("s/f"), in("g/to-there")) < 0 || symlink(in("s/nope"), in("g/to-missing")) < 0)
		die("symlink");
	for (const struct op *op = ops; op->name; op++) {
		char there[64];

		snprintf(there, sizeof there, op->leaf || op->flags & MAKES ? "s/%s" : "s/m-%s", op->flags & MAKES ? "f" : op->leaf ? op->leaf : op->name);
		tell(op, "object", in(there), in("s/nope"));
		if (!(op->flags & READS))
			continue;
		tell(op, "directory", in("s"), in("nope"));
		tell(op, "beneath", in("s/d/in"), in("s/nope/in"));
		tell(op, "through-file", in("s/f/x"), in("s/nope/x"));
		tell(op, "slash", in("s/f/"), in("s/nope/"));
		tell(op, "dotdot", in("s/d/../../g/f"), in("s/nope/../../g/f"));
		tell(op, "loop", in("s/loop"), in("s/nope"));
		tell(op, "private", in("s/private/f"), in("s/private/nope"));
		if (op->flags & FOLLOWS)
			tell(op, "symlink", in("g/to-there"), in("g/to-missing"));
		for (unsigned i = 0; i < sizeof host / sizeof *host; i++)
			tell(op, host[i][0], host[i][0], host[i][1]);
		snprintf(there, sizeof there, "/proc/%s", argv[2]);
		tell(op, "process", there, "/proc/4000000");
	}
	return 0;
}

static int drop_ids(void)
{
	return setgroups(0, NULL) < 0 || setresgid(1500, 1500, 1500) < 0 || setresuid(1500, 1500, 1500) < 0 ? errno : 0;
}

static int drop_caps(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { 0 };

	return result(syscall(SYS_capset, &h, d));
}

static int drop_fsuid(void)
{
	syscall(SYS_setfsgid, 1500);
	syscall(SYS_setfsuid, 1500);
	return syscall(SYS_setfsuid, -1) == 1500 ? 0 : EPERM;
}

static void attempt_all(const char *how, const char *dir, int real_root)
{
	static struct sockaddr_un sa = { .sun_family = AF_UNIX };

	op_sa = &sa;
	for (const struct op *op = ops; op->name; op++) {
		char name[400];
		int r;

		if (op->leaf)
			snprintf(name, sizeof name, "%s/%s", dir, op->leaf);
		else
			snprintf(name, sizeof name, "%s/m-%s", dir, op->name);
		strcpy(sa.sun_path, name);
		r = op->run(name) < 0 ? errno : 0;
		/* access(2) asks for the real user, who is still root when only the effective one changed. */
		say(r, "%c%s %s", real_root && (strcmp(op->name, "access") == 0 || strcmp(op->name, "faccessat") == 0) ? '=' : '-', how, op->name);
	}
}

static void *dropped_thread(void *dir)
{
	/* Only this thread: what is lent must be this thread's. */
	int r = syscall(SYS_setresuid, -1, 1500, -1) < 0 ? errno : 0;

	note("=drop thread: %s", errname(r));
	if (r == 0)
		attempt_all("thread", dir, 1);
	return NULL;
}

/* lend DIR: DIR is root's own; what is tried there after giving up root must fail as it would without us. */
int cmd_lend(int argc, char **argv)
{
	static const struct { const char *name; int (*drop)(void); } ways[] = {
		{ "ids", drop_ids }, { "caps", drop_caps }, { "fsuid", drop_fsuid },
	};
	const char *dir = argv[1];
	pthread_t t;

	(void)argc;
	strcpy(op_own, argv[2]);
	say(open_secret(join(dir, "f")), "+before");
	for (unsigned i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			int r = ways[i].drop();

			note("=drop %s: %s", ways[i].name, errname(r));
			/* Without capabilities root still owns its directory: use one of somebody else's. */
			if (r == 0)
				attempt_all(ways[i].name, i == 1 ? argv[3] : dir, i == 2);
			_exit(0);
		}
		wait_for(pid);
	}
	pthread_create(&t, NULL, dropped_thread, (void *)dir);
	pthread_join(t, NULL);
	say(open_secret(join(dir, "f")), "+after");
	return 0;
}

/* setuid PROGRAM: a set-user-id copy of this one. */
int cmd_setuid(int argc, char **argv)
{
	(void)argc;
	execl(argv[1], "victim", "runtime", NULL);
	say(errno, "euid-root");
	say(errno, "privileges-may-grow");
	note("done");
	return 0;
}
