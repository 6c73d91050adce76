/* Other processes: rows 27, 29, 46. */
#include "victim.h"

#include <sys/ptrace.h>
#include <sys/uio.h>

struct whom {
	const char *name;
	pid_t pid;
};

static int whoever(struct whom w[3], const char *outside)
{
	const char *front = getenv("FRONT");

	w[0] = (struct whom){ "supervisor", getppid() };
	w[1] = (struct whom){ "outside", atoi(outside) };
	w[2] = (struct whom){ "front", front ? atoi(front) : 0 };
	return 3;
}

static int traced(int how, pid_t pid)
{
	int st;

	if (ptrace(how, pid, NULL, NULL) < 0)
		return errno;
	if (how == PTRACE_ATTACH)
		waitpid(pid, &st, __WALL);
	else
		ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), waitpid(pid, &st, __WALL);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return 0;
}

static char canary[8] = "canary";

/* peer OUTSIDE: everything that reaches into another process. */
int cmd_peer(int argc, char **argv)
{
	struct whom w[3];
	int n = whoever(w, argv[1]);

	(void)argc;
	for (int i = 0; i < n; i++) {
		pid_t pid = w[i].pid;
		char b[8], name[64];
		struct iovec mine = { b, 8 }, theirs = { canary, 8 };
		struct rlimit rl = { 64, 64 };
		struct sched_param sp = { 0 };
		cpu_set_t cpus;
		int p, r;
		void *page = (void *)((uintptr_t)canary & ~4095ul);
		int status;
		void *head;
		size_t len;

		say(traced(PTRACE_ATTACH, pid), "%s ptrace-attach", w[i].name);
		say(traced(PTRACE_SEIZE, pid), "%s ptrace-seize", w[i].name);
		r = syscall(SYS_process_vm_readv, pid, &mine, 1, &theirs, 1, 0);
		say(r < 0 && errno == EFAULT ? 0 : result(r), "%s process_vm_readv", w[i].name);
		memcpy(b, canary, 8);
		r = syscall(SYS_process_vm_writev, pid, &mine, 1, &theirs, 1, 0);
		say(r < 0 && errno == EFAULT ? 0 : result(r), "%s process_vm_writev", w[i].name);
		p = syscall(SYS_pidfd_open, pid, 0);
		say(result(p), "=%s pidfd_open", w[i].name);
		r = syscall(SYS_pidfd_getfd, p, 0, 0);
		say(result(r), "%s pidfd_getfd", w[i].name);
		r = syscall(SYS_process_madvise, p, &theirs, 1, 20, 0);
		say(r < 0 && (errno == ENOMEM || errno == EINVAL || errno == EFAULT) ? 0 : result(r), "%s process_madvise", w[i].name);
		snprintf(name, sizeof name, "/proc/%d/mem", pid);
		r = open(name, O_RDWR | O_CLOEXEC);
		say(result(r), "%s proc-mem", w[i].name);
		snprintf(name, sizeof name, "/proc/%d/oom_score_adj", pid);
		r = open(name, O_WRONLY | O_CLOEXEC);
		say(result(r), "%s oom-score", w[i].name);
		say(result(syscall(SYS_prlimit64, pid, RLIMIT_CORE, NULL, &rl)), "=%s prlimit-get", w[i].name);
		say(result(syscall(SYS_prlimit64, pid, RLIMIT_CORE, &rl, NULL)), "%s prlimit-set", w[i].name);
		say(result(syscall(SYS_sched_getaffinity, pid, sizeof cpus, &cpus)), "=%s sched_getaffinity", w[i].name);
		r = sched_getaffinity(0, sizeof cpus, &cpus);
		say(result(syscall(SYS_sched_setaffinity, pid, sizeof cpus, &cpus)), "%s sched_setaffinity", w[i].name);
		say(result(syscall(SYS_sched_setscheduler, pid, SCHED_OTHER, &sp)), "%s sched_setscheduler", w[i].name);
		say(result(syscall(SYS_setpriority, PRIO_PROCESS, pid, 1)), "%s setpriority", w[i].name);
		say(result(syscall(SYS_ioprio_set, 1, pid, 2 << 13 | 7)), "%s ioprio_set", w[i].name);
		r = syscall(SYS_move_pages, pid, 1, &page, NULL, &status, 0);
		say(result(r), "%s move_pages", w[i].name);
		say(result(syscall(SYS_get_robust_list, pid, &head, &len)), "%s get_robust_list", w[i].name);
		say(result(syscall(SYS_kcmp, pid, getpid(), 0, 0, 0)), "%s kcmp", w[i].name);
		if (i > 0)
			say(getsid(pid) < 0 ? errno : 0, "=%s getsid", w[i].name);
	}
	say(result(syscall(SYS_setpriority, PRIO_USER, 0, getpriority(PRIO_PROCESS, 0))), "setpriority-user");
	say(result(syscall(SYS_setpriority, PRIO_PGRP, 0, 1)), "=setpriority-group");
	return 0;
}

/* What tells of another process, and lets change it, to whoever may trace it. */
static const char *const looks[] = { "mem", "environ", "maps", "fd/0", "root", "cwd" };
enum { LOOKS = sizeof looks / sizeof *looks };
static volatile int seen[LOOKS];
static volatile int over;
static pid_t sleeper;

static void *look(void *arg)
{
	char name[LOOKS][64];

	(void)arg;
	for (int i = 0; i < LOOKS; i++)
		snprintf(name[i], sizeof name[i], "/proc/%d/%s", sleeper, looks[i]);
	while (!over)
		for (int i = 0; i < LOOKS; i++) {
			int fd = open(name[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
			char b;

			if (fd < 0)
				continue;
			/* environ and maps can be opened by anybody, and then say nothing. */
			if ((i != 1 && i != 2) || read(fd, &b, 1) == 1)
				seen[i] = 1;
			close(fd);
		}
	return NULL;
}

/* awake: looks into the supervisor before, while and after it gets up to answer the first question. */
int cmd_awake(int argc, char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "/nothing" };
	pthread_t t[4];
	double until;

	(void)argc, (void)argv;
	sleeper = getppid();
	for (int i = 0; i < 4; i++)
		if (pthread_create(&t[i], NULL, look, NULL) != 0)
			die("pthread_create");
	usleep(20000);
	for (until = now() + 0.1; now() < until;) {
		int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		connect(s, (void *)&sa, sizeof sa);
		close(s);
	}
	over = 1;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < LOOKS; i++)
		say(seen[i] ? 0 : EACCES, "look at %s", looks[i]);
	return 0;
}

/* owned makes fd tell by signal sig that it is readable, to whom set says, and makes it readable. */
static int owned(int sig, int how, pid_t whom)
{
	struct f_owner_ex ex = { how == 4 ? F_OWNER_PGRP : F_OWNER_PID, whom };
	int p[2], e = 0, neg = -whom, pos = whom;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		return errno;
	switch (how) {
	case 0: e = result(fcntl(p[0], F_SETOWN, whom)); break;
	case 1: e = result(syscall(SYS_fcntl, p[0], F_SETOWN_EX, &ex)); break;
	case 2: e = result(ioctl(p[0], FIOSETOWN, &pos)); break;
	case 3: e = result(ioctl(p[0], SIOCSPGRP, &neg)); break;
	case 4: e = result(syscall(SYS_fcntl, p[0], F_SETOWN_EX, &ex)); break;
	case 5: e = result(fcntl(p[0], F_SETOWN, -whom)); break;
	}
	if (sig && fcntl(p[0], F_SETSIG, sig) < 0)
		e = errno;
	if (fcntl(p[0], F_SETFL, fcntl(p[0], F_GETFL) | O_ASYNC | O_NONBLOCK) < 0)
		e = errno;
	if (write(p[1], "x", 1) != 1)
		e = errno;
	usleep(20000);
	close(p[0]), close(p[1]);
	return e;
}

static int informed(int sig, pid_t tid)
{
	struct sigevent ev;
	struct itimerspec its = { .it_value = { 0, 1000000 } };
	timer_t t;

	memset(&ev, 0, sizeof ev);
	ev.sigev_notify = 4 /* SIGEV_THREAD_ID */;
	ev.sigev_signo = sig;
	ev._sigev_un._tid = tid;
	if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &t) < 0)
		return errno;
	return result(syscall(SYS_timer_settime, t, 0, &its, NULL));
}

/*
 * signals OUTSIDE GROUP: every way to send one, to a process outside that
 * leads the process group GROUP, which this process is in, too. Each way has a
 * number of its own, by which the outside tells what arrived.
 */
int cmd_signals(int argc, char **argv)
{
	struct whom w[3];
	int n = whoever(w, argv[1]);
	pid_t group = atoi(argv[2]);

	(void)argc;
	for (int sig = 40; sig < 64; sig++)
		signal(sig, SIG_IGN);
	signal(SIGIO, SIG_IGN);
	for (int i = 0; i < n; i++) {
		pid_t pid = w[i].pid;
		siginfo_t si = { .si_code = SI_QUEUE };
		int p, sig = i == 1 ? 40 : SIGWINCH;

		say(result(kill(pid, 0)), "%s kill-0", w[i].name);
		say(result(kill(pid, sig)), "%s kill", w[i].name);
		say(result(syscall(SYS_tkill, pid, sig)), "%s tkill", w[i].name);
		say(result(syscall(SYS_tgkill, pid, pid, sig)), "%s tgkill", w[i].name);
		si.si_signo = sig;
		say(result(syscall(SYS_rt_sigqueueinfo, pid, sig, &si)), "%s rt_sigqueueinfo", w[i].name);
		say(result(syscall(SYS_rt_tgsigqueueinfo, pid, pid, sig, &si)), "%s rt_tgsigqueueinfo", w[i].name);
		p = syscall(SYS_pidfd_open, pid, 0);
		say(result(syscall(SYS_pidfd_send_signal, p, sig, NULL, 0)), "%s pidfd_send_signal", w[i].name);
		if (i == 0) {
			close(p);
			continue;
		}
		say(owned(i == 1 ? 41 : SIGWINCH, 0, pid), i == 1 ? "~41 F_SETOWN" : "=F_SETOWN");
		say(owned(i == 1 ? 42 : SIGWINCH, 1, pid), i == 1 ? "~42 F_SETOWN_EX" : "=F_SETOWN_EX");
		say(owned(i == 1 ? 43 : SIGWINCH, 2, pid), i == 1 ? "~43 FIOSETOWN" : "=FIOSETOWN");
		say(informed(SIGWINCH, pid), "-%s timer", w[i].name);
	}
	say(owned(44, 3, group), "~44 SIOCSPGRP-group");
	say(owned(45, 4, group), "~45 F_SETOWN_EX-group");
	say(owned(46, 5, group), "~46 F_SETOWN-group");
	say(result(kill(0, SIGCONT)), "~18 kill-own-group");
	say(result(kill(-group, SIGCHLD)), "~17 kill-group");
	say(result(kill(-1, SIGWINCH)), "~28 kill-all");
	usleep(50000);
	return 0;
}
