/* Terminals: rows 21, 22, 23. */
#include "victim.h"

#include <termios.h>

static const struct { const char *name; int fd; } ttys[] = { { "stdin", 0 }, { "stderr", 2 }, { "dev-tty", -1 } };

/* tty OUTSIDE OWN: OUTSIDE is the name of somebody else's terminal, OWN of this one. */
int cmd_tty(int argc, char **argv)
{
	static const unsigned long high[] = { 0, 1ul << 32, 0xfffffffful << 32 };
	struct winsize ws;
	struct termios tio;
	int dev = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY), fd, own = argc > 2;

	say(result(dev), "+open-dev-tty");
	for (unsigned t = 0; t < 3; t++) {
		int term = ttys[t].fd < 0 ? dev : ttys[t].fd;

		for (unsigned h = 0; h < 3; h++) {
			static const char sub[] = { 2, 3, 4, 6, 7, 11, 13 };
			char c = 'x';

			say(result(syscall(SYS_ioctl, term, TIOCSTI | high[h], &c)), "tiocsti %s %lx", ttys[t].name, high[h]);
			for (unsigned i = 0; i < sizeof sub; i++) {
				char arg[64] = { sub[i] };

				say(result(syscall(SYS_ioctl, term, TIOCLINUX | high[h], arg)), "tioclinux-%d %s %lx", sub[i], ttys[t].name, high[h]);
			}
		}
		say(result(ioctl(term, TIOCGWINSZ, &ws)), "+winsize %s", ttys[t].name);
		say(result(tcgetattr(term, &tio)), "+tcgetattr %s", ttys[t].name);
		say(result(tcsetattr(term, TCSANOW, &tio)), "+tcsetattr %s", ttys[t].name);
		say(tcgetpgrp(term) < 0 ? errno : 0, "+tcgetpgrp %s", ttys[t].name);
	}
	fd = open(argv[1], O_RDWR | O_NOCTTY | O_CLOEXEC);
	say(result(fd), "outside-tty");
	if (own)
		say(result(open(argv[2], O_RDWR | O_NOCTTY | O_CLOEXEC)), "own-tty-by-name");
	fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	say(result(fd), "ptmx");
	fd = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	say(result(fd), "pts-ptmx");
	fd = open("/dev/tty0", O_RDWR | O_NOCTTY | O_CLOEXEC);
	say(result(fd), "tty0");
	fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	say(result(fd), "console");
	fd = open("/dev/mem", O_RDONLY | O_CLOEXEC);
	say(result(fd), "dev-mem");
	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	say(result(fd), "dev-kmsg");
	return 0;
}
