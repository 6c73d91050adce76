/*
 * Commands of another system may be listed in a limit, and mean nothing to whatever a
 * descriptor is. commands.h is what the headers define, as COMMAND(name).
 */
#define _GNU_SOURCE
#include <capsicum_helpers.h>
#include <net/bpf.h>
#include <sys/filio.h>
#include <sys/param.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define COMMAND(name) {#name, name},
static const struct {
	const char *name;
	cap_ioctl_t value;
} commands[] = {
#include "commands.h"
};

static int tried;

/* EBADFD is what a tunnel without an interface, ENOSYS what a loop control, says of all it does not know. */
static bool refused(int error)
{
	return error == ENOTTY || error == EINVAL || error == EOPNOTSUPP || error == EBADFD || error == ENOSYS;
}

static void nothing(const char *what, int fd)
{
	static char room[1 << 16];
	if (fd < 0)
		return; /* not here, or not for this user */
	tried++;
	for (size_t i = 0; i < nitems(commands); i++) {
		errno = 0;
		if (ioctl(fd, commands[i].value, room) != -1 || !refused(errno)) {
			fprintf(stderr, "%s understands %s: errno %d\n", what, commands[i].name, errno);
			exit(1);
		}
	}
	close(fd);
}

/* The commands that have FreeBSD's names are what the C library's calls make. */
static bool terminal(void)
{
	static const cap_ioctl_t get[] = {TIOCGETA, FIODTYPE};
	struct termios t;
	int fd = posix_openpt(O_RDWR | O_NOCTTY);
	if (fd < 0)
		return true; /* not here */
	if (tcgetattr(fd, &t) < 0 || cap_ioctls_limit(fd, get, nitems(get)) < 0)
		return false;
	return isatty(fd) && tcgetattr(fd, &t) == 0 && tcsetattr(fd, TCSANOW, &t) < 0 && errno == ENOTCAPABLE;
}

int main(void)
{
	cap_ioctl_t list[nitems(commands)], back[nitems(commands)];
	int fds[2];

	if (pipe(fds) < 0)
		return 1;
	nothing("a pipe", fds[0]);
	nothing("a terminal", posix_openpt(O_RDWR | O_NOCTTY));
	nothing("a file", open("/proc/self/exe", O_RDONLY));
	nothing("a directory", open("/", O_RDONLY));
	nothing("an epoll", epoll_create1(0));
	nothing("an eventfd", eventfd(0, 0));
	nothing("a timer", timerfd_create(CLOCK_MONOTONIC, 0));
	nothing("an inotify", inotify_init());
	nothing("a memfd", memfd_create("x", 0));
	nothing("a stream", socket(AF_INET, SOCK_STREAM, 0));
	nothing("a datagram", socket(AF_INET, SOCK_DGRAM, 0));
	nothing("a unix socket", socket(AF_UNIX, SOCK_STREAM, 0));
	nothing("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
	nothing("a packet socket", socket(AF_PACKET, SOCK_RAW, 0));
	nothing("/dev/null", open("/dev/null", O_RDWR));
	nothing("/dev/random", open("/dev/random", O_RDWR));
	nothing("/dev/net/tun", open("/dev/net/tun", O_RDWR));
	nothing("/dev/loop-control", open("/dev/loop-control", O_RDWR));
	nothing("/dev/kvm", open("/dev/kvm", O_RDWR));
	nothing("/dev/fuse", open("/dev/fuse", O_RDWR));
	if (tried < 14)
		return 2;
	for (size_t i = 0; i < nitems(commands); i++)
		list[i] = commands[i].value;
	if (cap_ioctls_limit(fds[1], list, nitems(list)) != 0 || cap_ioctls_get(fds[1], back, nitems(back)) != (ssize_t)nitems(list))
		return 3;
	if (memcmp(list, back, sizeof list) != 0)
		return 4;
	return terminal() ? 0 : 5;
}
