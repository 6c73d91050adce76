/* Processes that come to be or end in odd ways: rows 25, 28, 30, 32, 33, 34. */
#include "victim.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/file.h>
#include <sys/time.h>

static const char *granted, *secret;

/* look reports from wherever it runs. */
static void look(const char *who)
{
	int fd = open(granted, O_RDONLY | O_CLOEXEC);

	/* Processes with one working directory between them may be refused; if there is one it is confined. */
	say(fd < 0 ? errno : 0, "%cgranted %s", strcmp(who, "fs") == 0 ? '=' : '+', who);
	if (fd >= 0)
		close(fd);
	say(open_secret(secret), "secret %s", who);
}

static int looker(void *who) { look(who); return 0; }
static void *looking_thread(void *who) { look(who); return NULL; }
static char stack[262144];

static void *outliving_thread(void *arg)
{
	(void)arg;
	usleep(20000);
	look("thread-without-leader");
	note("done");
	_exit(0);
}

/* kin GRANTED SECRET: relatives that a tracer would lose. */
int cmd_kin(int argc, char **argv)
{
	static const struct { const char *name; int flags; } kinds[] = {
		{ "untraced", CLONE_UNTRACED }, { "vm", CLONE_VM | CLONE_VFORK }, { "files", CLONE_FILES },
		{ "fs", CLONE_FS },
		{ "parent", CLONE_PARENT }, { "untraced-parent", CLONE_PARENT | CLONE_UNTRACED }, { "io", CLONE_IO },
	};
	pthread_t t;
	int p[2];
	char b;
	pid_t pid;

	(void)argc;
	granted = argv[1], secret = argv[2];
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (pipe2(p, O_CLOEXEC) < 0)
			die("pipe");
		pid = clone(looker, stack + sizeof stack, kinds[i].flags | SIGCHLD, (void *)kinds[i].name);
		if (pid < 0)
			{ say(errno, "%cclone %s", strcmp(kinds[i].name, "fs") == 0 ? '=' : '+', kinds[i].name); continue; }
		close(p[1]);
		if (kinds[i].flags & CLONE_PARENT)
			while (kill(pid, 0) == 0 && read(p[0], &b, 1) > 0)
				;
		else
			wait_for(pid);
		close(p[0]);
	}
	if (pipe2(p, O_CLOEXEC) < 0)
		die("pipe");
	if ((pid = fork()) == 0) {	/* the parent is gone before the orphan looks */
		if (fork() == 0) {
			setsid();
			usleep(20000);
			look("orphan");
		}
		_exit(0);
	}
	wait_for(pid);
	close(p[1]);
	while (read(p[0], &b, 1) > 0)
		;
	pthread_create(&t, NULL, looking_thread, "thread");
	pthread_join(t, NULL);
	pthread_create(&t, NULL, outliving_thread, NULL);
	pthread_exit(NULL);
}

/* undump GRANTED SECRET PROGRAM: the program hides its memory, and then one that was never readable is started. */
int cmd_undump(int argc, char **argv)
{
	pid_t pid;
	int st;

	(void)argc;
	granted = argv[1], secret = argv[2];
	say(result(prctl(PR_SET_DUMPABLE, 0)), "+set-dumpable");
	look("undumpable");
	if ((pid = fork()) == 0) {
		execl(argv[3], "victim", "secret", argv[2], NULL);
		_exit(errno);
	}
	st = wait_for(pid);
	note("=exec of unreadable program: %s", errname(st));
	say(open_secret(secret), "secret after");
	return 0;
}

/* reuse GRANTED SECRET: callers are killed in mid call; nobody may inherit the answer. */
int cmd_reuse(int argc, char **argv)
{
	long n = 0;
	int stray = 0;

	(void)argc;
	close_range(3, ~0u, 0);	/* what a shell left open is not an answer */
	for (double end = now() + seconds; now() < end; n++) {
		pid_t kids[4];

		for (int i = 0; i < 4; i++)
			if ((kids[i] = fork()) == 0) {
				for (int fd = 3; fd < 24; fd++)
					if (fcntl(fd, F_GETFD) >= 0)
						_exit(77);
				for (;;) {
					int fd = open(argv[1], O_RDONLY);

					if (open_secret(argv[2]) == 0)
						_exit(78);
					if (fd != 3)
						_exit(fd < 0 ? 79 : 77);
					close(fd);
				}
			}
		usleep(rand() % 700);
		for (int i = 0; i < 4; i++) {
			int st;

			if (kids[i] < 0)
				continue;
			kill(kids[i], SIGKILL);
			st = wait_for(kids[i]);
			if (st != 128 + SIGKILL)
				stray = st;
		}
	}
	note("=reuse n=%ld", n);
	say(stray == 77 ? 0 : EBADF, "-stray-descriptor");
	say(stray == 78 ? 0 : ENOENT, "secret");
	say(stray == 79 ? EBADF : 0, "+granted");
	return 0;
}

/* pipeline N: shells with pipes must neither hang nor lose anything. */
int cmd_pipeline(int argc, char **argv)
{
	int n = atoi(argv[1]), fine = 0;

	(void)argc;
	for (int i = 0; i < n; i++) {
		FILE *f = popen("echo a|cat|cat", "r");
		char b[4] = "";

		fine += f != NULL && fgets(b, sizeof b, f) != NULL && strcmp(b, "a\n") == 0;
		if (f == NULL || pclose(f) != 0)
			fine--;
	}
	say(ok(fine == n), "+pipelines");
	return 0;
}

static void ignore(int sig) { (void)sig; }

/* stopped GRANTED: a caller is stopped, continued and interrupted all the time. */
int cmd_stopped(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = ignore, .sa_flags = SA_RESTART };
	struct itimerval it = { { 0, 300 }, { 0, 300 } };
	pid_t pid;

	(void)argc;
	for (int how = 0; how < 3; how++) {
		static const char *const names[] = { "+stopped-and-continued", "+interrupted", "=interrupted-without-restart" };
		int st = 0;

		if ((pid = fork()) == 0) {
			if (how == 2)	/* what asks may say EINTR then: the kernel sees to it before we do */
				sa.sa_flags = 0;
			sigaction(SIGALRM, &sa, NULL);
			if (how > 0)
				setitimer(ITIMER_REAL, &it, NULL);
			for (int i = 0; i < 3000; i++) {
				int fd = open(argv[1], O_RDONLY | O_CLOEXEC);

				if (fd < 0)
					_exit(errno);
				close(fd);
			}
			_exit(0);
		}
		for (int n = 0; waitpid(pid, &st, WNOHANG) == 0; n++) {
			if (how == 0)
				kill(pid, SIGSTOP), usleep(200), kill(pid, SIGCONT);
			usleep(500);
			if (n > 20000)
				kill(pid, SIGKILL);
		}
		say(WIFEXITED(st) ? WEXITSTATUS(st) : ETIMEDOUT, "%s", names[how]);
	}
	return 0;
}

static int by_value(const void *a, const void *b) { return *(double *)a < *(double *)b ? -1 : 1; }

/* stall FIFO GRANTED N: N callers hang in the FIFO; opens of others stay quick. */
int cmd_stall(int argc, char **argv)
{
	int n = atoi(argv[3]), count = 1000;
	pid_t *kids = calloc(n, sizeof *kids);
	double *took = calloc(count, sizeof *took);

	(void)argc;
	for (int i = 0; i < n; i++)
		if ((kids[i] = fork()) == 0) {
			/* One flavour after the other of calls that do not come back. */
			int fd = i % 2 ? open(argv[1], O_RDONLY) : open(argv[1], O_WRONLY | O_CLOEXEC | (i % 4 ? O_NONBLOCK : 0));

			if (fd >= 0 || i % 4 != 0)
				pause();
			_exit(0);
		}
	usleep(300000);
	for (int i = 0; i < count; i++) {
		double t = now();
		int fd = open(argv[2], O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			say(errno, "+open-while-stalled");
		close(fd);
		took[i] = now() - t;
	}
	for (int i = 0; i < n; i++) {
		kill(kids[i], SIGKILL);
		wait_for(kids[i]);
	}
	qsort(took, count, sizeof *took, by_value);
	note("=stall median %.1f us, 99%% %.1f us, longest %.1f us", took[count / 2] * 1e6, took[count * 99 / 100] * 1e6, took[count - 1] * 1e6);
	say(took[count * 99 / 100] < 0.010 ? 0 : ETIMEDOUT, "+quick-while-stalled");
	return 0;
}

static void await_line(const char *what)
{
	char b;

	note("=%s", what);
	while (read(0, &b, 1) == 1 && b != '\n')
		;
}

/* opens N GRANTED SECRET: twice the same load; the harness measures in between. */
int cmd_opens(int argc, char **argv)
{
	int n = atoi(argv[1]);
	struct stat st;

	(void)argc;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < n / (round ? 1 : 4); i++) {
			int fd = open(argv[2], O_RDONLY | O_CLOEXEC);

			if (fd < 0) {
				say(errno, "+open");
				return 1;
			}
			close(fd);
			if (i % 4 == 0 && (open_secret(argv[3]) == 0 || stat(argv[2], &st) < 0)) {
				say(0, "-secret");
				return 1;
			}
		}
		await_line(round ? "loaded" : "warm");
	}
	say(0, "+opens");
	return 0;
}

/* wait GRANTED SECRET: looks, tells its own number, waits, looks again. */
int cmd_wait(int argc, char **argv)
{
	(void)argc;
	granted = argv[1], secret = argv[2];
	look("before");
	await_line("ready");
	look("after");
	return 0;
}

/* runtime: what the kernel says of this process. */
int cmd_runtime(int argc, char **argv)
{
	FILE *f = fopen("/proc/self/status", "re");
	char b[256];

	(void)argc, (void)argv;
	while (f != NULL && fgets(b, sizeof b, f) != NULL)
		if (strncmp(b, "NoNewPrivs", 10) == 0 || strncmp(b, "Seccomp:", 8) == 0 || strncmp(b, "Cap", 3) == 0) {
			b[strcspn(b, "\n")] = 0;
			note("=%s", b);
		}
	say(geteuid() == 0 ? 0 : EPERM, "euid-root");
	say(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? ENOSYS : 0, "privileges-may-grow");
	return 0;
}

/*
 * launch NR ERRNO ARG|- VALUE PROGRAM...: the program and all it starts fail
 * in system call NR, if its argument ARG is VALUE.
 */
int cmd_launch(int argc, char **argv)
{
	int arg = strcmp(argv[3], "-") == 0 ? 0 : atoi(argv[3]);
	unsigned value = strtoul(argv[4], NULL, 0);
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, atoi(argv[1]), 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[arg])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | atoi(argv[2])),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { 6, f };

	(void)argc;
	if (strcmp(argv[3], "-") == 0) {
		f[1].jf = 1;
		f[2] = f[4];
		f[3] = f[5];
		prog.len = 4;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		die("install filter");
	execv(argv[5], argv + 5);
	die(argv[5]);
	return 1;
}
