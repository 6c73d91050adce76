// Prints how long single system calls take: "name nanoseconds" a line.
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char *file;
static struct sockaddr_un server = {.sun_family = AF_UNIX};
static int data;

static void open_close(void) {
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) err(1, "open %s", file);
	close(fd);
}

static void stat_name(void) {
	struct stat st;
	if (stat(file, &st) < 0) err(1, "stat %s", file);
}

static void stat_descriptor(void) {
	struct stat st;
	if (fstat(data, &st) < 0) err(1, "fstat");
}

static void access_missing(void) {
	if (access("/no/such/name", F_OK) == 0) errx(1, "/no/such/name exists");
}

static void read_byte(void) {
	char c;
	if (pread(data, &c, 1, 0) != 1) err(1, "pread");
}

static void parent(void) {
	syscall(SYS_getppid);
}

static void connect_close(void) {
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0) err(1, "socket");
	if (connect(s, (struct sockaddr *)&server, sizeof server) < 0) err(1, "connect %s", server.sun_path);
	close(s);
}

static const struct {
	const char *name;
	void (*call)(void);
} calls[] = {
	{"getppid", parent},
	{"pread of 1 byte", read_byte},
	{"fstat", stat_descriptor},
	{"stat", stat_name},
	{"access of a missing name", access_missing},
	{"open + close", open_close},
	{"socket + connect + close", connect_close},
};

int main(int argc, char **argv) {
	if (argc != 4) errx(2, "usage: calls count file socket");
	int n = atoi(argv[1]);
	file = argv[2];
	if (strlen(argv[3]) >= sizeof server.sun_path) errx(2, "%s is too long", argv[3]);
	strcpy(server.sun_path, argv[3]);
	data = open(file, O_RDONLY | O_CLOEXEC);
	if (data < 0) err(1, "open %s", file);
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		struct timespec from, to;
		for (int k = 0; k < n / 10; k++) calls[i].call();
		clock_gettime(CLOCK_MONOTONIC, &from);
		for (int k = 0; k < n; k++) calls[i].call();
		clock_gettime(CLOCK_MONOTONIC, &to);
		double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
		printf("%s\t%.1f\n", calls[i].name, ns / n);
	}
	return 0;
}
