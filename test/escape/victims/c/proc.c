/* Names that mean the caller, links that mean an object, descriptors that were inherited: rows 9-13. */
#include "victim.h"

#include <dirent.h>
#include <sys/xattr.h>

static int reads(const char *name, const char *want)
{
	char b[8192];
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n, len = strlen(want);

	if (fd < 0)
		return errno;
	n = read(fd, b, sizeof b);
	close(fd);
	return ok(n > 0 && memmem(b, n, want, len) != NULL);
}

static int links(const char *name, const char *want)
{
	char b[PATH_MAX];
	ssize_t n = readlink(name, b, sizeof b - 1);

	if (n < 0)
		return errno;
	b[n] = 0;
	return ok(strcmp(b, want) == 0);
}

static void *as_caller(void *arg)
{
	char want[64], name[64];
	pid_t tid = syscall(SYS_gettid);
	int fds[2], fd;

	(void)arg;
	say(reads("/proc/self/environ", "MARK=mine"), "+self-environ");
	say(reads("/proc/thread-self/environ", "MARK=mine"), "+thread-self-environ");
	snprintf(want, sizeof want, "%d", getpid());
	say(links("/proc/self", want), "+self-link");
	snprintf(want, sizeof want, "%d/task/%d", getpid(), tid);
	say(links("/proc/thread-self", want), "+thread-self-link");
	snprintf(want, sizeof want, "Pid:\t%d\n", tid);
	say(reads("/proc/thread-self/status", want), "+thread-self-status");
	snprintf(want, sizeof want, "Pid:\t%d\n", getpid());
	say(reads("/proc/self/status", want), "+self-status");
	snprintf(name, sizeof name, "/proc/%d/cmdline", getpid());
	say(reads(name, "self-child"), "+own-cmdline");
	prctl(PR_SET_NAME, "a-thread");
	say(reads("/proc/thread-self/comm", "a-thread"), "+thread-self-comm");
	if (pipe(fds) < 0 || write(fds[1], "through", 7) != 7)
		die("pipe");
	snprintf(name, sizeof name, "/proc/self/fd/%d", fds[0]);
	say(reads(name, "through"), "+self-fd");
	if (write(fds[1], "through", 7) != 7)
		die("pipe");
	snprintf(name, sizeof name, "/dev/fd/%d", fds[0]);
	say(reads(name, "through"), "+dev-fd");
	if (write(fds[1], "through", 7) != 7 || dup2(fds[0], 0) < 0)
		die("pipe");
	say(reads("/dev/stdin", "through"), "+dev-stdin");
	fd = open("/dev/stdout", O_WRONLY | O_CLOEXEC);
	say(fd < 0 ? errno : 0, "+dev-stdout");
	return NULL;
}

/* self: the names are used by a thread of a grandchild that was executed with an environment of its own. */
int cmd_self(int argc, char **argv)
{
	pid_t pid = fork();

	(void)argc, (void)argv;
	if (pid == 0) {
		static char *const env[] = { "MARK=mine", NULL };
		static char *const args[] = { "victim", "self-child", NULL };

		pid = fork();
		if (pid != 0)
			_exit(wait_for(pid));
		execve("/proc/self/exe", args, env);
		die("execve /proc/self/exe");
	}
	return wait_for(pid);
}

int cmd_self_child(int argc, char **argv)
{
	pthread_t t;

	(void)argc, (void)argv;
	if (pthread_create(&t, NULL, as_caller, NULL) != 0)
		die("thread");
	pthread_join(t, NULL);
	return 0;
}

static int opens(const char *name, int flags)
{
	int fd = open(name, flags | O_CLOEXEC | O_NONBLOCK), e = errno;

	if (fd >= 0)
		close(fd);
	return fd < 0 ? e : 0;
}

/* first_byte reads, because some files of /proc are refused only then. */
static int first_byte(const char *name)
{
	char b;
	int fd = open(name, O_RDONLY | O_CLOEXEC), e;

	if (fd < 0)
		return errno;
	/* At address 0 there is no memory to be read: the file is open all the same. */
	e = read(fd, &b, 1) < 0 && errno != EIO && errno != EFAULT ? errno : 0;
	close(fd);
	return e;
}

/* lists says whether a directory can be read and has what only the host has. */
static int lists(const char *name, const char *want)
{
	DIR *d = opendir(name);
	struct dirent *e;
	int found = 0;

	if (d == NULL)
		return errno;
	while ((e = readdir(d)) != NULL)
		found |= strcmp(e->d_name, want) == 0;
	closedir(d);
	return ok(found);
}

/* magic T OUTSIDE-PID: links of /proc that lead to an object and not to a name. */
int cmd_magic(int argc, char **argv)
{
	const char *tree = argv[1], *front = getenv("FRONT"), *whose[5];
	char sup[16], self[16], name[PATH_MAX], b[64];
	int n = 0;

	(void)argc;
	snprintf(sup, sizeof sup, "%d", getppid());
	snprintf(self, sizeof self, "%d", getpid());
	whose[n++] = sup, whose[n++] = argv[2], whose[n++] = front, whose[n++] = "1";
	for (int i = 0; i < n; i++) {
		static const char *const what[] = { "supervisor", "outside", "front", "init" };
		static const char *const private[] = { "environ", "mem", "maps", "auxv", "exe", "io", "stack", "syscall", "pagemap" };

		snprintf(name, sizeof name, "/proc/%s/root%s/s/f", whose[i], tree);
		say(open_secret(name), "%s-root", what[i]);
		snprintf(name, sizeof name, "/proc/%s/root/etc/passwd", whose[i]);
		say(opens(name, O_RDONLY), "%s-root-etc", what[i]);
		snprintf(name, sizeof name, "/proc/%s/cwd/../../../../../..%s/s/f", whose[i], tree);
		say(open_secret(name), "%s-cwd", what[i]);
		snprintf(name, sizeof name, "/proc/%s/task/%s/root%s/s/f", whose[i], whose[i], tree);
		say(open_secret(name), "%s-task-root", what[i]);
		for (unsigned k = 0; k < sizeof private / sizeof *private; k++) {
			snprintf(name, sizeof name, "/proc/%s/%s", whose[i], private[k]);
			say(first_byte(name), "%s-%s", what[i], private[k]);
		}
		for (int fd = 0; fd < 3; fd++) {
			snprintf(name, sizeof name, "/proc/%s/fd/%d", whose[i], fd);
			say(result(readlink(name, b, sizeof b)), "%s-fd%d-link", what[i], fd);
		}
		snprintf(name, sizeof name, "/proc/%s/fd", whose[i]);
		say(lists(name, "0"), "%s%s-fd-list", getuid() == 0 ? "=" : "", what[i]);
		snprintf(name, sizeof name, "/proc/%s/ns/mnt", whose[i]);
		say(opens(name, O_RDONLY), "%s-ns-mnt", what[i]);
		/* What every user may see of every process: not of those outside, except that one's own init exists. */
		if (i == 1 || i == 2) {
			snprintf(name, sizeof name, "/proc/%s/cmdline", whose[i]);
			say(opens(name, O_RDONLY), "%s-cmdline", what[i]);
			snprintf(name, sizeof name, "/proc/%s/status", whose[i]);
			say(opens(name, O_RDONLY), "%s-status", what[i]);
			say(lists("/proc", whose[i]), "%s-listed", what[i]);
		}
	}
	snprintf(name, sizeof name, "/proc/self/root%s/s/f", tree);
	say(open_secret(name), "self-root");
	snprintf(name, sizeof name, "/proc/thread-self/root%s/s/f", tree);
	say(open_secret(name), "thread-self-root");
	snprintf(name, sizeof name, "/proc/self/cwd/../../../../../..%s/s/f", tree);
	say(open_secret(name), "self-cwd");
	snprintf(name, sizeof name, "/proc/self/task/%s/cwd/../../../../..%s/s/f", self, tree);
	say(open_secret(name), "self-task-cwd");
	snprintf(name, sizeof name, "/proc/self/exe/../../../../..%s/s/f", tree);
	say(open_secret(name), "-self-exe-dotdot");
	n = open(join(tree, "g"), O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(name, sizeof name, "/proc/self/fd/%d/../s/f", n);
	say(open_secret(name), "fd-dotdot");
	snprintf(name, sizeof name, "/dev/fd/%d/../s/f", n);
	say(open_secret(name), "dev-fd-dotdot");
	snprintf(name, sizeof name, "/proc/self/fd/%d", n);
	say(chdir(name) < 0 ? errno : open_secret("../s/f"), "chdir-fd-dotdot");
	say(n < 0 ? errno : fchdir(n) == 0 ? open_secret("../s/f") : errno, "fchdir-dotdot");
	n = openat(n, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	n = n < 0 ? errno : openat(n, "s/f", O_RDONLY) < 0 ? errno : 0;
	say(n, "openat-dotdot");
	snprintf(name, sizeof name, "/..%s/s/f", tree);
	say(open_secret(name), "root-dotdot");
	say(opens("/proc/kcore", O_RDONLY), "kcore");
	say(reads("/proc/kallsyms", " "), "=kallsyms");
	say(opens("/proc/sys/kernel/core_pattern", O_WRONLY), "core_pattern");
	say(opens("/proc/sysrq-trigger", O_WRONLY), "sysrq-trigger");
	say(opens("/proc/sys/kernel/hostname", O_WRONLY), "hostname");
	say(opens("/proc/keys", O_RDONLY), "proc-keys");
	say(opens("/proc/net/../1/root/etc/passwd", O_RDONLY), "proc-net-dotdot");
	say(opens("/proc/self/mountinfo", O_RDONLY), "=mountinfo");
	return 0;
}

/* handle T: objects by number instead of name. */
int cmd_handle(int argc, char **argv)
{
	union {
		struct file_handle h;
		char b[sizeof(struct file_handle) + 128];
	} u = { .h = { .handle_bytes = 128 } };
	int id, r, fd;

	(void)argc;
	r = name_to_handle_at(AT_FDCWD, join(argv[1], "s/f"), &u.h, &id, 0);
	say(result(r), "name_to_handle_at");
	u.h.handle_bytes = 128;
	r = name_to_handle_at(AT_FDCWD, join(argv[1], "g/f"), &u.h, &id, 0);
	say(result(r), "=name_to_handle_at-granted");
	if (r < 0) {	/* ext4: inode and generation; the root directory is inode 2 */
		u.h.handle_bytes = 8, u.h.handle_type = 1;
		memset(u.h.f_handle, 0, 8);
		u.h.f_handle[0] = 2;
	}
	fd = open_by_handle_at(open(join(argv[1], "g"), O_RDONLY | O_DIRECTORY | O_CLOEXEC), &u.h, O_RDONLY);
	say(result(fd), "open_by_handle_at");
	return 0;
}

/* fds T KEPT: descriptors 3 and up were open in the caller; only KEPT was granted. */
int cmd_fds(int argc, char **argv)
{
	int kept = argc > 2 ? atoi(argv[2]) : -1, leaked = 0, out = 0;
	char name[64];
	DIR *d;

	/* The working directory the command was started in. */
	say(open_secret("../s/f"), "cwd-and-up");
	say(open_secret("f"), "cwd");
	say(open_secret("../s/f"), "cwd-up");
	for (int fd = 3; fd < 1024; fd++) {
		if (fd == kept)
			continue;
		if (fcntl(fd, F_GETFD) >= 0) {
			note("=open %d", fd);
			leaked++;
		}
		if (fchdir(fd) == 0 && (open_secret("s/f") == 0 || open_secret("../s/f") == 0 || access("etc/passwd", F_OK) == 0))
			out++;
	}
	say(ok(leaked), "leaked");
	say(ok(out), "fchdir-out");
	leaked = 0;
	if ((d = opendir("/proc/self/fd")) != NULL) {
		for (struct dirent *e; (e = readdir(d)) != NULL;) {
			int fd = atoi(e->d_name);

			leaked += e->d_name[0] != '.' && fd > 2 && fd != dirfd(d) && fd != kept;
		}
		closedir(d);
		say(ok(leaked), "leaked-listed");
	} else {
		say(errno, "+proc-self-fd");
	}
	say(result(read(3, name, 1)) == 0 ? 0 : errno, kept == 3 ? "+read-kept" : "read-3");
	snprintf(name, sizeof name, "/proc/%d/exe", getppid());
	say(opens(name, O_RDONLY), "launcher-exe");
	return 0;
}

/*
 * reopen FILE: descriptor 3 is FILE opened for reading, 4 a directory, 5 FILE
 * by O_PATH. None may become more than it is.
 */
int cmd_reopen(int argc, char **argv)
{
	static const char *const forms[] = { "/dev/fd/%d", "/proc/self/fd/%d", "/proc/thread-self/fd/%d" };
	char name[64];
	struct timespec t[2] = { { 1, 0 }, { 2, 0 } };
	int fds[] = { 3, 5 };

	(void)argc;
	say(opens("/dev/fd/3", O_RDONLY), "+reopen-for-reading");
	for (int k = 0; k < 2; k++)
		for (int i = 0; i < 3; i++) {
			snprintf(name, sizeof name, forms[i], fds[k]);
			say(opens(name, O_RDWR), "rdwr %s", name);
			say(opens(name, O_WRONLY | O_APPEND), "append %s", name);
			say(opens(name, O_RDONLY | O_TRUNC), "trunc %s", name);
			say(result(truncate(name, 1)), "truncate %s", name);
			/* 5 was granted with all it has, and O_PATH of one's own file is enough for these. */
			say(result(chmod(name, 0777)), "%schmod %s", k ? "=" : "", name);
			say(result(utimensat(AT_FDCWD, name, t, 0)), "%sutimes %s", k ? "=" : "", name);
			say(result(setxattr(name, "user.n", "v", 1, 0)), "%ssetxattr %s", k ? "=" : "", name);
			say(result(linkat(AT_FDCWD, name, AT_FDCWD, join(argv[1], name[1] == 'd' ? "n1" : "n2"), AT_SYMLINK_FOLLOW)), "link %s", name);
			unlink(join(argv[1], "n1")), unlink(join(argv[1], "n2"));
		}
	say(result(fchmod(3, 0770)), "fchmod");
	say(result(fchown(3, getuid(), getgid())), "fchown");
	say(result(futimens(3, t)), "futimens");
	say(result(fsetxattr(3, "user.n", "v", 1, 0)), "fsetxattr");
	say(result(fremovexattr(3, "user.k")), "fremovexattr");
	say(result(syscall(SYS_fchmodat, 3, "", 0700, 0)), "-fchmodat-empty");
	say(result(syscall(452, 5, "", 0700, AT_EMPTY_PATH)), "=fchmodat2-empty");
	say(result(fchownat(5, "", getuid(), getgid(), AT_EMPTY_PATH)), "=fchownat-empty");
	say(result(utimensat(5, "", t, AT_EMPTY_PATH)), "=utimensat-empty");
	say(result(linkat(3, "", AT_FDCWD, join(argv[1], "n3"), AT_EMPTY_PATH)), "linkat-empty");
	say(result(linkat(5, "", AT_FDCWD, join(argv[1], "n4"), AT_EMPTY_PATH)), "linkat-empty-path");
	say(open_secret("/dev/fd/4/../s/d/in"), "dir-dotdot");
	say(open_secret("/proc/self/fd/4/../s/d/in"), "dir-dotdot-proc");
	{
		int fd = openat(4, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = errno;

		say(fd < 0 ? e : openat(fd, "s/d/in", O_RDONLY) < 0 ? errno : 0, "dir-openat-dotdot");
		fd = openat(4, "w", O_WRONLY | O_CREAT, 0600);
		say(result(fd), "dir-create");
		say(result(unlinkat(4, "f", 0)), "dir-unlink");
	}
	return 0;
}

/* getfd PID: a descriptor out of another process. */
int cmd_getfd(int argc, char **argv)
{
	int whom[3] = { getppid(), atoi(argv[1]), 0 };
	static const char *const who[] = { "supervisor", "outside", "child" };
	pid_t child = fork();

	(void)argc;
	if (child == 0)
		for (;;)
			pause();
	whom[2] = child;
	for (int i = 0; i < 3; i++) {
		int p = syscall(SYS_pidfd_open, whom[i], 0), r;

		r = p < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, p, 0, 0);
		say(result(r), "%s", who[i]);
		if (p < 0) {	/* the filter has to say it without a pidfd, too */
			syscall(SYS_pidfd_getfd, -1, 0, 0);
			say(errno == EBADF ? 0 : errno, "=%s-without-pidfd", who[i]);
		}
	}
	kill(child, SIGKILL);
	wait_for(child);
	return 0;
}
