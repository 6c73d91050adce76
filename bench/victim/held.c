// Prints how long single calls on descriptors that were handed over take: "name
// nanoseconds" a line. With "fork N" it makes N children that stay, and prints how
// long each took.
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int data, left, right, dir, queue;
static char byte;

static void want(int got, int wanted, const char *what) {
	if (got != wanted) err(1, "%s: %d", what, got);
}

static void read_byte(void) { want(read(data, &byte, 1), 1, "read"); }
static void write_byte(void) { want(write(data, &byte, 1), 1, "write"); }
static void pread_byte(void) { want(pread(data, &byte, 1, 9), 1, "pread"); }
static void pwrite_byte(void) { want(pwrite(data, &byte, 1, 9), 1, "pwrite"); }
static void seek(void) { want(lseek(data, 0, SEEK_SET), 0, "lseek"); }

static void send_receive(void) {
	want(sendto(left, &byte, 1, 0, NULL, 0), 1, "sendto");
	want(recvfrom(right, &byte, 1, 0, NULL, NULL), 1, "recvfrom");
}

static void map(void) {
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, data, 0);
	if (p == MAP_FAILED) err(1, "mmap");
	munmap(p, 4096);
}

static void poll_now(void) {
	struct pollfd p = {data, POLLIN, 0};
	want(poll(&p, 1, 0), 1, "poll");
	want(p.revents, POLLIN, "poll's answer");
}

static void epoll_now(void) {
	struct epoll_event e;
	want(epoll_wait(queue, &e, 1, 0), 0, "epoll_wait");
}

static void status(void) {
	struct stat st;
	want((int)syscall(SYS_fstat, data, &st), 0, "fstat"); // the C library makes fstatat of it
}

static int copy(void) { return dup(data); }

static int open_beneath(void) { return openat(dir, "data", O_RDWR | O_CLOEXEC); }

static void status_beneath(void) {
	struct stat st;
	want(fstatat(dir, "data", &st, 0), 0, "fstatat");
}

static const struct {
	const char *name;
	void (*call)(void);
	char on;  // which descriptors it is on: file, sockets, directory, queue
	int slow; // asks, so a tenth of the runs will do
} calls[] = {
	{"read", read_byte, 'f', 0}, {"write", write_byte, 'f', 0}, {"pread", pread_byte, 'f', 0}, {"pwrite", pwrite_byte, 'f', 0},
	{"lseek", seek, 'f', 0}, {"mmap + munmap", map, 'f', 0}, {"sendto + recvfrom", send_receive, 's', 0},
	{"epoll_wait", epoll_now, 'q', 0}, {"poll", poll_now, 'f', 1}, {"fstat", status, 'f', 1}, {"fstatat", status_beneath, 'd', 1},
};

// What makes descriptors, which are closed after every hundred.
static const struct {
	const char *name, *closing;
	int (*call)(void);
	char on;
} makers[] = {
	{"dup", "close, after dup", copy, 'f'},
	{"openat", "close, after openat", open_beneath, 'd'},
};

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

// Calls are timed in batches, and the median of these is printed: what else the
// machine does in between is in few of them.
enum { batch = 100, rounds = 10000 };

static int ascending(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void print(const char *name, const char *where, double *took, int n) {
	qsort(took, (size_t)n, sizeof *took, ascending);
	printf("%s%s\t%.1f\n", name, where, took[n / 2] / batch);
}

// measure times the first n calls of the table that are on one of the descriptors
// named, the file being what data is now.
static void measure(size_t n, int times, const char *on, const char *where) {
	static double took[rounds];
	for (size_t i = 0; i < n; i++) {
		if (!strchr(on, calls[i].on)) continue;
		int runs = (calls[i].slow ? times / 10 : times) / batch + 1;
		if (runs > rounds) runs = rounds;
		lseek(data, 0, SEEK_SET);
		for (int k = 0; k < runs; k++) {
			double from = now();
			for (int j = 0; j < batch; j++) calls[i].call();
			took[k] = now() - from;
		}
		print(calls[i].name, where, took, runs);
	}
}

static void measure_makers(int times, const char *on) {
	static double making[rounds], closing[rounds];
	int made[batch];
	for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
		if (!strchr(on, makers[i].on)) continue;
		int runs = times / 10 / batch + 1;
		if (runs > rounds) runs = rounds;
		for (int k = 0; k < runs; k++) {
			double from = now();
			for (int n = 0; n < batch; n++)
				if ((made[n] = makers[i].call()) < 0) err(1, "%s", makers[i].name);
			making[k] = now() - from;
			from = now();
			for (int n = 0; n < batch; n++) close(made[n]);
			closing[k] = now() - from;
		}
		print(makers[i].name, "", making, runs);
		print(makers[i].closing, "", closing, runs);
	}
}

// forks makes n children one after the other, each of which makes a call that asks
// and then stays.
static void forks(int n) {
	int told[2];
	struct stat st;
	if (pipe(told) < 0) err(1, "pipe");
	double from = now();
	for (int i = 0; i < n; i++) {
		switch (fork()) {
		case -1:
			err(1, "fork %d", i);
		case 0:
			if (syscall(SYS_fstat, data, &st) < 0) _exit(1);
			write(told[1], "x", 1);
			pause();
			_exit(0);
		}
		want(read(told[0], &byte, 1), 1, "a child");
	}
	printf("%d processes\t%.1f\n", n, (now() - from) / n);
	fflush(stdout);
	kill(0, SIGKILL);
}

int main(int argc, char **argv) {
	if (argc == 4 && !strcmp(argv[1], "fork")) {
		setpgid(0, 0);
		data = atoi(argv[3]);
		forks(atoi(argv[2]));
	}
	if (argc != 9) errx(2, "usage: held count descriptors data left right dir beneath queue");
	int times = atoi(argv[1]);
	const char *on = argv[2];
	data = atoi(argv[3]), left = atoi(argv[4]), right = atoi(argv[5]), dir = atoi(argv[6]), queue = atoi(argv[8]);
	measure(sizeof calls / sizeof *calls, times, on, "");
	measure_makers(times, on);
	const size_t hot = 6; // as many rows of the table
	data = atoi(argv[7]);
	if (strchr(on, 'd')) measure(hot, times, "f", ", opened beneath");
	return 0;
}
