/* Programs that were not granted, started by detours: row 35. */
#include "victim.h"

#include <elf.h>
#include <sys/sendfile.h>

static const char *tree;
static char *const none[] = { NULL };

static const char *in(const char *name) { return join(tree, name); }

/* ran starts f in a child and says how it ended: the programs exit with 42. */
static int ran(void (*f)(const void *), const void *arg)
{
	pid_t pid = fork();
	int st;

	if (pid == 0) {
		f(arg);
		_exit(errno);
	}
	st = wait_for(pid);
	return st == 42 ? 0 : st > 0 && st < 128 ? st : EBADE;
}

static void by_name(const void *name) { char *const av[] = { (char *)name, NULL }; execve(name, av, none); }
static void by_fd(const void *fd) { char *const av[] = { "x", NULL }; syscall(SYS_execveat, *(int *)fd, "", av, none, AT_EMPTY_PATH); }
static void by_proc(const void *fd)
{
	char name[40];

	snprintf(name, sizeof name, "/proc/self/fd/%d", *(int *)fd);
	by_name(name);
}
static void by_loader(const void *target)
{
	char *const av[] = { "ld.so", (char *)target, NULL };

	execve("/lib64/ld-linux-x86-64.so.2", av, none);
}
static void by_uselib(const void *name) { if (syscall(SYS_uselib, name) == 0) _exit(42); }

static int copied(int to)
{
	int from = open(in("g/x"), O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (from < 0 || to < 0 || fstat(from, &st) < 0 || sendfile(to, from, NULL, st.st_size) != st.st_size)
		return -1;
	close(from);
	return 0;
}

/* mapped maps fd executable, either at once or after the fact. */
static int mapped(int fd, int later)
{
	void *p;

	if (fd < 0)
		return errno;
	p = mmap(NULL, 4096, later ? PROT_READ : PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return errno;
	if (later && mprotect(p, 4096, PROT_READ | PROT_EXEC) < 0)
		return errno;
	return 0;
}

/* exec T: in g nothing may be executed, h may be written, and s is not granted. g/x is a program that exits with 42. */
int cmd_exec(int argc, char **argv)
{
	int fd, path;

	(void)argc;
	tree = argv[1];
	say(ran(by_name, in("g/x")), "by-name");
	say(ran(by_name, in("s/x")), "ungranted-by-name");
	fd = open(in("g/x"), O_RDONLY);
	path = open(in("g/x"), O_PATH);
	say(ran(by_fd, &fd), "by-descriptor");
	say(ran(by_fd, &path), "by-path-descriptor");
	say(ran(by_proc, &fd), "by-proc-fd");
	say(ran(by_proc, &path), "by-proc-path-fd");
	say(ran(by_name, in("g/script")), "script-of-ungranted");
	say(ran(by_name, in("g/script-g")), "script-of-not-executable");
	say(ran(by_loader, in("g/dynamic")), "by-loader");
	say(ran(by_uselib, in("g/x")), "-uselib");
	fd = memfd_create("x", 0);
	say(copied(fd) < 0 ? errno : ran(by_fd, &fd), "memfd-by-descriptor");
	say(ran(by_proc, &fd), "memfd-by-proc");
	path = open(in("h"), O_TMPFILE | O_RDWR, 0755);
	if (copied(path) < 0)
		note("=tmpfile: %s", errname(errno));
	{
		char name[40];

		/* Opened again for reading only: what is open for writing is not executed (ETXTBSY). */
		snprintf(name, sizeof name, "/proc/self/fd/%d", path);
		fd = open(name, O_RDONLY);
		close(path);
	}
	say(fd < 0 ? errno : ran(by_fd, &fd), "tmpfile-by-descriptor");
	fd = open(in("h/copy"), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	if (copied(fd) < 0)
		note("=copy: %s", errname(errno));
	close(fd);
	say(ran(by_name, in("h/copy")), "written-by-name");
	say(result(link(in("g/x"), in("h/linked"))) ? errno : ran(by_name, in("h/linked")), "linked-by-name");
	fd = open(in("g/x"), O_RDONLY | O_CLOEXEC);
	say(mapped(fd, 0), "map-executable");
	say(mapped(fd, 1), "make-executable");
	fd = open(in("h/copy"), O_RDWR | O_CLOEXEC);
	say(mapped(fd, 0), "map-written");
	say(mapped(memfd_create("m", MFD_CLOEXEC), 0), "=map-memfd");
	return 0;
}
