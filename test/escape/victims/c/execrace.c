/* Programs that change while they are started, and images that change: rows 3, 31. */
#include "victim.h"

static volatile int stop;
static char *name;	/* shared with the children */
static size_t at;

static void *flip(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	while (!stop) {
		((volatile char *)name)[at] ^= 'g' ^ 's';
		seed = seed * 1103515245u + 12345u;
		for (unsigned n = (seed >> 16) % 2048; n--;)
			__asm__ volatile("pause");
		if ((seed >> 8) % 8 == 0)
			usleep((seed >> 16) % 100);
	}
	return NULL;
}

/* How a program is started: by name, by name from a descriptor, and as the interpreter of a script. */
static void start(int how)
{
	static char *const none[] = { NULL };
	char *const argv[] = { name, NULL };

	if (how == 0)
		execve(name, argv, none);
	else
		syscall(SYS_execveat, AT_FDCWD, name, argv, none, 0);
	_exit(errno == EACCES || errno == ENOENT || errno == EPERM ? 99 : 98);
}

/* exec-race T: T/g/x may be executed and exits with 0, T/s/x may not and exits with 42. */
int cmd_exec_race(int argc, char **argv)
{
	static const char *const how[] = { "execve", "execveat" };
	pthread_t t[2];

	(void)argc;
	name = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(name, 4096, "%s/g/x", argv[1]);
	at = strlen(argv[1]) + 1;
	for (uintptr_t i = 0; i < 2; i++)
		if (pthread_create(&t[i], NULL, flip, (void *)(i + 1)) != 0)
			die("thread");
	for (int h = 0; h < 2; h++) {
		long ran = 0, hits = 0, n = 0;

		for (double end = now() + seconds / 2; n < 20 || (now() < end && (hits == 0 || ran == 0)); n++) {
			pid_t pid = fork();
			int status;

			if (pid == 0)
				start(h);
			status = wait_for(pid);
			ran += status == 0;
			hits += status == 42;
		}
		note("=%s n=%ld granted=%ld", how[h], n, ran);
		say(ok(ran > 0), "+%s-granted", how[h]);
		say(hits ? 0 : EACCES, "%s", how[h]);
	}
	stop = 1;
	return 0;
}

#define PLACE ((char *)0x10000000)

static volatile char *place = PLACE;

static void *open_often(void *arg)
{
	(void)arg;
	for (;;) {
		int fd = open(PLACE, O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

/*
 * reexec A B N: threads open whatever the name at a fixed address says while
 * the process replaces itself by an image that has another name there. What the
 * new image opens must be what the new image says.
 */
int cmd_reexec(int argc, char **argv)
{
	char left[16], b[4] = "";
	int n = atoi(argv[3]), fd;
	pthread_t t;

	(void)argc;
	if (mmap(PLACE, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("mmap");
	strcpy(PLACE, argv[1]);
	for (int i = 0; i < 20; i++) {
		fd = open((const char *)place, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, b, 1) != 1 || b[0] != argv[1][strlen(argv[1]) - 1]) {
			say(fd < 0 ? errno : EBADMSG, "+fresh-image");
			return 1;
		}
		close(fd);
	}
	if (n == 0) {
		say(0, "+fresh-image");
		return 0;
	}
	for (int i = 0; i < 3; i++)
		pthread_create(&t, NULL, open_often, NULL);
	usleep(500);
	snprintf(left, sizeof left, "%d", n - 1);
	execl("/proc/self/exe", "victim", "reexec", argv[2], argv[1], left, NULL);
	say(errno, "+fresh-image");
	return 1;
}
