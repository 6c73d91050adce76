/* Memory that cannot be read, descriptors that cannot be had: rows 4, 5. */
#include "victim.h"

static volatile int stop;
static char *page;
static char kept[4096];

/* vanish maps the page away and back; what is there when it is there is the secret's name. */
static void *vanish(void *arg)
{
	int how = *(int *)arg;

	while (!stop) {
		if (how == 0) {
			munmap(page, 4096);
		} else {
			mprotect(page, 4096, PROT_NONE);
			sched_yield();
			mprotect(page, 4096, PROT_READ | PROT_WRITE);
			continue;
		}
		sched_yield();
		if (mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			die("mmap");
		memcpy(page, kept, sizeof kept);
		for (int i = 0; i < 300 && !stop; i++)
			__asm__ volatile("pause");
	}
	return NULL;
}

/* use makes each call once with what page says, whether it is there or not; the result is how often it was not. */
static int use(char *at, int dg, socklen_t len, long hits[4], int last[4])
{
	struct stat st;
	int fd = open(at, O_RDONLY | O_CLOEXEC), r[4], faults = 0;

	r[0] = fd < 0 ? errno : ok(holds_secret(fd));
	if (fd >= 0)
		close(fd);
	r[1] = result(syscall(SYS_stat, at, &st));
	r[2] = result(syscall(SYS_sendto, dg, "x", 1, 0, at + 1024, len));
	r[3] = result(syscall(SYS_sendmsg, dg, at + 2048, 0));
	for (int k = 0; k < 4; k++) {
		hits[k] += r[k] == 0;
		faults += r[k] == EFAULT;
		if (r[k])
			last[k] = r[k];
	}
	return faults;
}

/* unmap SECRET OUTSIDE-SOCKET: the name, the address, the message disappear during the call. */
int cmd_unmap(int argc, char **argv)
{
	static const char *const how[] = { "munmap", "mprotect" };
	static int hows[] = { 0, 1 };
	struct sockaddr_un *sa;
	struct msghdr *h;
	struct iovec *v;

	(void)argc;
	page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(kept, argv[1]);
	sa = (void *)(kept + 1024);
	sa->sun_family = AF_UNIX;
	strcpy(sa->sun_path, argv[2]);
	h = (void *)(kept + 2048);
	v = (void *)(kept + 3072);
	h->msg_name = page + 1024;
	h->msg_namelen = sizeof *sa;
	h->msg_iov = (void *)(page + 3072);
	h->msg_iovlen = 1;
	v->iov_base = page + 2048;
	v->iov_len = 1;
	memcpy(page, kept, sizeof kept);
	for (int i = 0; i < 2; i++) {
		long hits[4] = { 0 }, faults = 0;
		int last[4] = { 0 }, dg = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		static const char *const name[] = { "open", "stat", "sendto", "sendmsg" };
		pthread_t t;

		stop = 0;
		if (pthread_create(&t, NULL, vanish, &hows[i]) != 0)
			die("thread");
		for (double end = now() + seconds / 2; now() < end;) {
			faults += use(page, dg, sizeof *sa, hits, last);
		}
		stop = 1;
		pthread_join(t, NULL);
		mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		memcpy(page, kept, sizeof kept);
		use(page, dg, sizeof *sa, hits, last);
		for (int k = 0; k < 4; k++)
			say(hits[k] ? 0 : last[k], "%s-%s", how[i], name[k]);
		note("=%s faults=%ld", how[i], faults);
		close(dg);
	}
	/* A name that runs from a mapped page into nothing. */
	munmap(page + 4096, 4096);
	memset(page + 4096 - 4, 'x', 4);
	say(open_secret(page + 4096 - 4), "-name-into-nothing");
	strcpy(page + 4096 - strlen(argv[1]) - 1, argv[1]);
	say(open_secret(page + 4096 - strlen(argv[1]) - 1), "name-up-to-the-edge");
	return 0;
}

/* exhaust GRANTED SECRET: no descriptor number is free when an open is answered. */
int cmd_exhaust(int argc, char **argv)
{
	struct rlimit rl, old;
	int fds = 0, granted = 0, secret = 0, err = 0, serr = 0;

	(void)argc;
	say(open_secret(argv[2]), "before");
	getrlimit(RLIMIT_NOFILE, &old);
	rl = old;
	rl.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &rl);
	while ((fds = dup(0)) >= 0)
		;
	for (int i = 0; i < 2000; i++) {
		int fd = open(argv[1], O_RDONLY);

		fd < 0 ? (err = errno) : granted++;
		fd = open(argv[2], O_RDONLY);
		fd < 0 ? (serr = errno) : secret++;
	}
	say(granted ? 0 : err, "-granted-while-exhausted");
	say(secret ? 0 : serr, "-secret-while-exhausted");
	setrlimit(RLIMIT_NOFILE, &old);
	close(10), close(11);
	fds = open(argv[1], O_RDONLY);
	say(fds < 0 ? errno : 0, "+granted-after");
	say(open_secret(argv[2]), "after");
	/* The same with no memory lock, file size or process to be had. */
	rl = (struct rlimit){ 0, 0 };
	setrlimit(RLIMIT_MEMLOCK, &rl), setrlimit(RLIMIT_FSIZE, &rl), setrlimit(RLIMIT_SIGPENDING, &rl);
	setrlimit(RLIMIT_NPROC, &rl), setrlimit(RLIMIT_LOCKS, &rl);
	say(open_secret(argv[2]), "without-anything");
	rl.rlim_cur = rl.rlim_max = 3;
	setrlimit(RLIMIT_NOFILE, &rl);
	say(open_secret(argv[2]), "-with-three-descriptors");
	return 0;
}
