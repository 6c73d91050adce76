/*
 * A confined process and its child, to be looked at: a file limited to reading, a
 * folder limited in each way. Says what it has, and ends with its input.
 */
#define _GNU_SOURCE
#include <capsicum_helpers.h>

#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	cap_rights_t rights;
	cap_ioctl_t cmds[] = {TCGETS, TIOCGWINSZ};
	int file = open("/proc/self/exe", O_RDONLY), dir = open("/", O_RDONLY | O_DIRECTORY), ends[2];
	char byte;

	cap_rights_init(&rights, CAP_READ, CAP_FSTAT);
	if (pipe(ends) < 0 || cap_rights_limit(file, &rights) < 0)
		return 1;
	cap_rights_init(&rights, CAP_LOOKUP, CAP_READ, CAP_IOCTL, CAP_FCNTL);
	if (cap_rights_limit(dir, &rights) < 0 || cap_ioctls_limit(dir, cmds, 2) < 0 || cap_fcntls_limit(dir, CAP_FCNTL_GETFL) < 0)
		return 2;
	if (argc > 1 && argv[1][0] == 'm' && cap_enter() < 0)
		return 3;
	pid_t child = fork();
	if (child < 0)
		return 4;
	if (child == 0) {
		/* Nothing that anybody is asked about. */
		return (int)read(0, &byte, 1);
	}
	printf("%d %d %d %d\n", (int)getpid(), (int)child, file, dir);
	fflush(stdout);
	return (int)read(0, &byte, 1);
}
