#include "victim.h"

double seconds = 1;

const char *errname(int err)
{
	static char number[16];
	const char *s = err == 0 ? "OK" : strerrorname_np(err);

	if (s == NULL)
		snprintf(number, sizeof number, "E%d", err), s = number;
	return s;
}

/* A line is written by one call, so that forked attackers do not mix theirs. */
static void line(const char *end, const char *fmt, va_list ap)
{
	char b[1024];
	int n = vsnprintf(b, sizeof b - 64, fmt, ap);

	if (n > (int)sizeof b - 65)
		n = sizeof b - 65;
	n += snprintf(b + n, sizeof b - n, "%s\n", end);
	if (write(1, b, n) != n)
		_exit(3);
}

void say(int err, const char *fmt, ...)
{
	va_list ap;
	char end[40];

	snprintf(end, sizeof end, ": %s", errname(err));
	va_start(ap, fmt);
	line(end, fmt, ap);
	va_end(ap);
}

void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line("", fmt, ap);
	va_end(ap);
}

void die(const char *what)
{
	dprintf(2, "victim: %s: %s\n", what, strerror(errno));
	_exit(2);
}

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int holds_secret(int fd)
{
	char b[6] = "";

	return pread(fd, b, 6, 0) == 6 && memcmp(b, "SECRET", 6) == 0;
}

int open_secret(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK), hit;

	if (fd < 0)
		return errno;
	hit = holds_secret(fd);
	close(fd);
	return ok(hit);
}

char *join(const char *a, const char *b)
{
	static __thread char buf[32][1024];
	static __thread int next;
	char *s = buf[next++ % 32];

	snprintf(s, sizeof buf[0], "%s/%s", a, b);
	return s;
}

int wait_for(pid_t pid)
{
	int st;

	while (waitpid(pid, &st, __WALL) < 0)
		if (errno != EINTR)
			return -1;
	return WIFSIGNALED(st) ? 128 + WTERMSIG(st) : WEXITSTATUS(st);
}

int cmd_hello(int argc, char **argv)
{
	(void)argc, (void)argv;
	say(0, "+hello");
	return 0;
}

/* secret NAME...: whether each name can be opened and holds the secret. */
int cmd_secret(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		say(open_secret(argv[i]), "open %s", argv[i]);
	return 0;
}

/* parent COMMAND...: stands in for the supervisor when there is none. */
int cmd_parent(int argc, char **argv)
{
	char self[64];
	pid_t pid;

	(void)argc;
	prctl(PR_SET_PTRACER, -1);
	snprintf(self, sizeof self, "%d", getpid());
	setenv("FRONT", self, 0);
	if ((pid = fork()) == 0) {
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	signal(SIGUSR2, SIG_IGN);
	_exit(wait_for(pid));
}

const struct command commands[] = {
	{ "race", cmd_race }, { "exec-race", cmd_exec_race }, { "unmap", cmd_unmap }, { "exhaust", cmd_exhaust },
	{ "swap", cmd_swap }, { "twice", cmd_twice }, { "self", cmd_self }, { "self-child", cmd_self_child },
	{ "magic", cmd_magic }, { "fds", cmd_fds }, { "reopen", cmd_reopen }, { "sockets", cmd_sockets },
	{ "inbound", cmd_inbound }, { "uring", cmd_uring }, { "foreign", cmd_foreign }, { "numbers", cmd_numbers },
	{ "high", cmd_high }, { "tty", cmd_tty }, { "clone3", cmd_clone3 }, { "kin", cmd_kin },
	{ "userns", cmd_userns }, { "peer", cmd_peer }, { "awake", cmd_awake }, { "undump", cmd_undump }, { "signals", cmd_signals },
	{ "reuse", cmd_reuse }, { "reexec", cmd_reexec }, { "pipeline", cmd_pipeline }, { "stall", cmd_stall },
	{ "opens", cmd_opens }, { "exec", cmd_exec }, { "keys", cmd_keys }, { "persona", cmd_persona },
	{ "cross", cmd_cross }, { "readonly", cmd_readonly }, { "oracle", cmd_oracle }, { "net", cmd_net },
	{ "parent", cmd_parent }, { "hello", cmd_hello }, { "mounts", cmd_mounts }, { "refused", cmd_refused },
	{ "lend", cmd_lend }, { "stopped", cmd_stopped }, { "climb", cmd_climb }, { "handle", cmd_handle },
	{ "setuid", cmd_setuid }, { "filter", cmd_filter }, { "getfd", cmd_getfd }, { "secret", cmd_secret },
	{ "wait", cmd_wait }, { "launch", cmd_launch }, { "runtime", cmd_runtime }, { "later", cmd_later }, { NULL, NULL },
};

int main(int argc, char **argv)
{
	const char *s = getenv("SECONDS");

	signal(SIGPIPE, SIG_IGN);
	if (s != NULL)
		seconds = atof(s);
	for (const struct command *c = commands; argc > 1 && c->name; c++)
		if (strcmp(c->name, argv[1]) == 0) {
			int r = c->run(argc - 1, argv + 1);

			note("done");
			return r;
		}
	dprintf(2, "victim: no such attack\n");
	return 2;
}
