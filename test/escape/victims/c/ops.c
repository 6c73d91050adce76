#include "ops.h"

#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

struct sockaddr_un *op_sa;
char op_own[PATH_MAX];

static int spent(int fd, int hit)
{
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : hit;
}

static int content(int fd) { return spent(fd, fd >= 0 && holds_secret(fd)); }

/* Every object of the ungranted tree that can be looked at is 4242 bytes long. */
static int sized(int r, const struct stat *st) { return r < 0 ? -1 : st->st_size == 4242; }

#define OP(id) static int id(const char *p)
#define sys(...) ((int)syscall(__VA_ARGS__))

OP(op_open) { return content(sys(SYS_open, p, O_RDONLY)); }
OP(op_openat) { return content(sys(SYS_openat, AT_FDCWD, p, O_RDONLY)); }
OP(op_open_rdwr) { return content(sys(SYS_openat, AT_FDCWD, p, O_RDWR)); }
OP(op_openat2)
{
	struct open_how how = { .flags = O_RDONLY };

	return content(sys(SYS_openat2, AT_FDCWD, p, &how, sizeof how));
}
OP(op_open_path)
{
	struct stat st = { 0 };
	int fd = sys(SYS_openat, AT_FDCWD, p, O_PATH);

	return spent(fd, fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 4242);
}
OP(op_stat) { struct stat st; return sized(sys(SYS_stat, p, &st), &st); }
OP(op_lstat) { struct stat st; return sized(sys(SYS_lstat, p, &st), &st); }
OP(op_fstatat) { struct stat st; return sized(sys(SYS_newfstatat, AT_FDCWD, p, &st, 0), &st); }
OP(op_statx)
{
	struct statx sx = { 0 };
	int r = sys(SYS_statx, AT_FDCWD, p, 0, STATX_BASIC_STATS, &sx);

	return r < 0 ? -1 : sx.stx_size == 4242;
}
/* Only the ungranted object has the execute bit. */
OP(op_access) { return sys(SYS_access, p, X_OK) < 0 ? -1 : HIT; }
OP(op_faccessat) { return sys(SYS_faccessat, AT_FDCWD, p, X_OK) < 0 ? -1 : HIT; }
OP(op_faccessat2) { return sys(SYS_faccessat2, AT_FDCWD, p, X_OK, AT_EACCESS) < 0 ? -1 : HIT; }

static int linked(int n, const char *b) { return n < 0 ? -1 : n >= 6 && memcmp(b, "SECRET", 6) == 0; }

OP(op_readlink) { char b[64]; return linked(sys(SYS_readlink, p, b, sizeof b), b); }
OP(op_readlinkat) { char b[64]; return linked(sys(SYS_readlinkat, AT_FDCWD, p, b, sizeof b), b); }
OP(op_getxattr) { char b[64]; return linked(sys(SYS_getxattr, p, "user.k", b, sizeof b), b); }
OP(op_lgetxattr) { char b[64]; return linked(sys(SYS_lgetxattr, p, "user.k", b, sizeof b), b); }
/* Only the ungranted object has two attributes. */
OP(op_listxattr) { char b[256]; int n = sys(SYS_listxattr, p, b, sizeof b); return n < 0 ? -1 : n > 7; }
OP(op_llistxattr) { char b[256]; int n = sys(SYS_llistxattr, p, b, sizeof b); return n < 0 ? -1 : n > 7; }

OP(op_chdir)
{
	char b[PATH_MAX];
	int hit = 0, r = sys(SYS_chdir, p);

	if (r == 0) {
		int fd = open("in", O_RDONLY);

		hit = content(fd) == HIT || (sys(SYS_getcwd, b, sizeof b) > 0 && strstr(b, "/s/") != NULL);
		if (chdir(op_own) < 0)
			die("chdir back");
	}
	return r < 0 ? -1 : hit;
}
/* A watch tells of the ungranted directory: the harness touches a name in it all the time. */
OP(op_inotify)
{
	static int in = -1;
	char b[4096];
	int wd;

	if (in < 0)
		in = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	wd = sys(SYS_inotify_add_watch, in, p, IN_CREATE | IN_ATTRIB | IN_MODIFY);
	if (wd >= 0) {
		struct pollfd pf = { in, POLLIN, 0 };

		poll(&pf, 1, 4);
	}
	for (ssize_t n = read(in, b, sizeof b), at = 0; at < n;) {
		struct inotify_event *e = (void *)(b + at);

		if (e->len && strncmp(e->name, "tick", 4) == 0)
			return HIT;
		at += sizeof *e + e->len;
	}
	return wd < 0 ? -1 : 0;
}

OP(op_connect)
{
	struct pollfd pf = { .events = POLLIN };
	char b = 0;
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r, e;

	(void)p;
	r = connect(s, (void *)op_sa, sizeof *op_sa), e = errno;
	pf.fd = s;
	if (r == 0 && poll(&pf, 1, 200) == 1 && read(s, &b, 1) < 0)
		b = 0;
	close(s);
	errno = e;
	return r < 0 ? -1 : b == 'S';
}

static int datagram(void)
{
	static int s = -1;

	if (s < 0)
		s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return s;
}
/* A full queue says nothing about the name: the receiver is given time, a second at most. */
static int full(int r, int *tries)
{
	return r < 0 && errno == EAGAIN && (*tries)++ < 5000 && usleep(200) == 0;
}
OP(op_sendto)
{
	int r, tries = 0;

	(void)p;
	do
		r = sendto(datagram(), "sendto", 6, 0, (void *)op_sa, sizeof *op_sa);
	while (full(r, &tries));
	return r < 0 ? -1 : 0;
}
OP(op_sendmsg)
{
	struct iovec v = { "sendmsg", 7 };
	struct msghdr h = { .msg_name = op_sa, .msg_namelen = sizeof *op_sa, .msg_iov = &v, .msg_iovlen = 1 };
	int r, tries = 0;

	(void)p;
	do
		r = sendmsg(datagram(), &h, 0);
	while (full(r, &tries));
	return r < 0 ? -1 : 0;
}
OP(op_sendmmsg)
{
	struct iovec v = { "sendmmsg", 8 };
	struct mmsghdr h = { .msg_hdr = { .msg_name = op_sa, .msg_namelen = sizeof *op_sa, .msg_iov = &v, .msg_iovlen = 1 } };
	int r, tries = 0;

	(void)p;
	do
		r = sendmmsg(datagram(), &h, 1, 0);
	while (full(r, &tries));
	return r < 0 ? -1 : 0;
}
OP(op_bind)
{
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r = bind(s, (void *)op_sa, sizeof *op_sa), e = errno;

	(void)p;
	close(s);
	errno = e;
	return r;
}

OP(op_truncate) { return sys(SYS_truncate, p, 3); }
OP(op_open_trunc) { return spent(sys(SYS_openat, AT_FDCWD, p, O_WRONLY | O_TRUNC), 0); }
OP(op_open_write) { int fd = sys(SYS_openat, AT_FDCWD, p, O_WRONLY); return spent(fd, fd >= 0 && write(fd, "X", 1) < 0); }
OP(op_open_creat) { return spent(sys(SYS_openat, AT_FDCWD, p, O_WRONLY | O_CREAT, 0600), 0); }
OP(op_creat) { return spent(sys(SYS_creat, p, 0600), 0); }
OP(op_chmod) { return sys(SYS_chmod, p, 0640); }
OP(op_fchmodat) { return sys(SYS_fchmodat, AT_FDCWD, p, 0640); }
OP(op_fchmodat2) { return sys(452, AT_FDCWD, p, 0640, 0); }
OP(op_chown) { return sys(SYS_chown, p, getuid(), getgid()); }
OP(op_lchown) { return sys(SYS_lchown, p, getuid(), getgid()); }
OP(op_fchownat) { return sys(SYS_fchownat, AT_FDCWD, p, getuid(), getgid(), 0); }
OP(op_utime) { struct utimbuf t = { 1, 2 }; return sys(SYS_utime, p, &t); }
OP(op_utimes) { struct timeval t[2] = { { 1, 0 }, { 2, 0 } }; return sys(SYS_utimes, p, t); }
OP(op_futimesat) { struct timeval t[2] = { { 1, 0 }, { 2, 0 } }; return sys(SYS_futimesat, AT_FDCWD, p, t); }
OP(op_utimensat) { struct timespec t[2] = { { 1, 0 }, { 2, 0 } }; return sys(SYS_utimensat, AT_FDCWD, p, t, 0); }
OP(op_setxattr) { return sys(SYS_setxattr, p, "user.new", "v", 1, 0); }
OP(op_lsetxattr) { return sys(SYS_lsetxattr, p, "user.new", "v", 1, 0); }
OP(op_removexattr) { return sys(SYS_removexattr, p, "user.k"); }
OP(op_lremovexattr) { return sys(SYS_lremovexattr, p, "user.k"); }
OP(op_mkdir) { return sys(SYS_mkdir, p, 0755); }
OP(op_mkdirat) { return sys(SYS_mkdirat, AT_FDCWD, p, 0755); }
OP(op_mknod) { return sys(SYS_mknod, p, S_IFIFO | 0600, 0); }
OP(op_mknodat) { return sys(SYS_mknodat, AT_FDCWD, p, S_IFREG | 0600, 0); }
OP(op_symlink) { return sys(SYS_symlink, "target", p); }
OP(op_symlinkat) { return sys(SYS_symlinkat, "target", AT_FDCWD, p); }

/* other is a name of the attacker's own; there says whether it has to exist. */
static const char *other(int there)
{
	static __thread char name[PATH_MAX + 32];

	snprintf(name, sizeof name, "%s/other", op_own);
	if (there) {
		int fd = open(name, O_WRONLY | O_CREAT, 0600);

		if (fd >= 0)
			close(fd);
	} else {
		unlink(name);
	}
	return name;
}
OP(op_link_from) { return sys(SYS_link, p, other(0)); }
OP(op_linkat_from) { return sys(SYS_linkat, AT_FDCWD, p, AT_FDCWD, other(0), AT_SYMLINK_FOLLOW); }
OP(op_link_to) { return sys(SYS_link, other(1), p); }
OP(op_linkat_to) { return sys(SYS_linkat, AT_FDCWD, other(1), AT_FDCWD, p, 0); }
OP(op_tmpfile)
{
	int fd = open(op_own, O_TMPFILE | O_RDWR, 0600), r, e;
	char proc[40];

	if (fd < 0)
		return -1;
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	r = sys(SYS_linkat, AT_FDCWD, proc, AT_FDCWD, p, AT_SYMLINK_FOLLOW), e = errno;
	close(fd);
	errno = e;
	return r;
}
OP(op_unlink) { return sys(SYS_unlink, p); }
OP(op_unlinkat) { return sys(SYS_unlinkat, AT_FDCWD, p, 0); }
OP(op_rmdir) { return sys(SYS_rmdir, p); }
OP(op_rmdirat) { return sys(SYS_unlinkat, AT_FDCWD, p, AT_REMOVEDIR); }
OP(op_rename_from) { return sys(SYS_rename, p, other(0)); }
OP(op_rename_to) { return sys(SYS_rename, other(1), p); }
OP(op_renameat_from) { return sys(SYS_renameat, AT_FDCWD, p, AT_FDCWD, other(0)); }
OP(op_renameat_to) { return sys(SYS_renameat, AT_FDCWD, other(1), AT_FDCWD, p); }
OP(op_exchange) { return sys(SYS_renameat2, AT_FDCWD, other(1), AT_FDCWD, p, 2); }

const struct op ops[] = {
	{ "open", READS | FOLLOWS, "f", op_open },
	{ "openat", READS | FOLLOWS, "f", op_openat },
	{ "open-rdwr", READS | FOLLOWS, "f", op_open_rdwr },
	{ "openat2", READS | FOLLOWS, "f", op_openat2 },
	{ "open-path", READS | FOLLOWS, "f", op_open_path },
	{ "stat", READS | FOLLOWS, "f", op_stat },
	{ "lstat", READS, "f", op_lstat },
	{ "newfstatat", READS | FOLLOWS, "f", op_fstatat },
	{ "statx", READS | FOLLOWS, "f", op_statx },
	{ "access", READS | FOLLOWS, "f", op_access },
	{ "faccessat", READS | FOLLOWS, "f", op_faccessat },
	{ "faccessat2", READS | FOLLOWS, "f", op_faccessat2 },
	{ "readlink", READS, "l", op_readlink },
	{ "readlinkat", READS, "l", op_readlinkat },
	{ "getxattr", READS | FOLLOWS, "f", op_getxattr },
	{ "lgetxattr", READS, "f", op_lgetxattr },
	{ "listxattr", READS | FOLLOWS, "f", op_listxattr },
	{ "llistxattr", READS, "f", op_llistxattr },
	{ "chdir", READS | FOLLOWS | DIR_, "d", op_chdir },
	{ "inotify_add_watch", READS | FOLLOWS | DIR_, "d", op_inotify },
	{ "connect", READS | FOLLOWS, "sock", op_connect },
	{ "sendto", FOLLOWS, "dsock", op_sendto },
	{ "sendmsg", FOLLOWS, "dsock", op_sendmsg },
	{ "sendmmsg", FOLLOWS, "dsock", op_sendmmsg },
	{ "bind", MAKES, NULL, op_bind },
	{ "truncate", FOLLOWS, NULL, op_truncate },
	{ "open-trunc", FOLLOWS, NULL, op_open_trunc },
	{ "open-write", FOLLOWS, NULL, op_open_write },
	{ "open-creat", MAKES, NULL, op_open_creat },
	{ "creat", MAKES, NULL, op_creat },
	{ "chmod", FOLLOWS, NULL, op_chmod },
	{ "fchmodat", FOLLOWS, NULL, op_fchmodat },
	{ "fchmodat2", FOLLOWS, NULL, op_fchmodat2 },
	{ "chown", FOLLOWS, NULL, op_chown },
	{ "lchown", 0, NULL, op_lchown },
	{ "fchownat", FOLLOWS, NULL, op_fchownat },
	{ "utime", FOLLOWS, NULL, op_utime },
	{ "utimes", FOLLOWS, NULL, op_utimes },
	{ "futimesat", FOLLOWS, NULL, op_futimesat },
	{ "utimensat", FOLLOWS, NULL, op_utimensat },
	{ "setxattr", FOLLOWS, NULL, op_setxattr },
	{ "lsetxattr", 0, NULL, op_lsetxattr },
	{ "removexattr", FOLLOWS, NULL, op_removexattr },
	{ "lremovexattr", 0, NULL, op_lremovexattr },
	{ "mkdir", MAKES, NULL, op_mkdir },
	{ "mkdirat", MAKES, NULL, op_mkdirat },
	{ "mknod", MAKES, NULL, op_mknod },
	{ "mknodat", MAKES, NULL, op_mknodat },
	{ "symlink", MAKES, NULL, op_symlink },
	{ "symlinkat", MAKES, NULL, op_symlinkat },
	{ "link-from", 0, NULL, op_link_from },
	{ "linkat-from", FOLLOWS, NULL, op_linkat_from },
	{ "link-to", MAKES, NULL, op_link_to },
	{ "linkat-to", MAKES, NULL, op_linkat_to },
	{ "tmpfile-link", MAKES, NULL, op_tmpfile },
	{ "unlink", 0, NULL, op_unlink },
	{ "unlinkat", 0, NULL, op_unlinkat },
	{ "rmdir", DIR_, NULL, op_rmdir },
	{ "rmdirat", DIR_, NULL, op_rmdirat },
	{ "rename-from", 0, NULL, op_rename_from },
	{ "rename-to", MAKES, NULL, op_rename_to },
	{ "renameat-from", 0, NULL, op_renameat_from },
	{ "renameat-to", MAKES, NULL, op_renameat_to },
	{ "exchange", 0, NULL, op_exchange },
	{ NULL, 0, NULL, NULL },
};

void prepare(const struct op *op, const char *name)
{
	int fd;

	if (op->leaf != NULL)
		return;
	if (op->flags & MAKES) {
		if (unlink(name) < 0 && (errno == EISDIR || errno == EPERM))
			rmdir(name);
	} else if (op->flags & DIR_) {
		mkdir(name, 0755);
	} else if ((fd = open(name, O_WRONLY | O_CREAT, 0644)) >= 0) {
		close(fd);
		if (strstr(op->name, "removexattr"))
			setxattr(name, "user.k", "granted", 7, 0);
	}
}
