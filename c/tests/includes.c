/*
 * A program that includes one header of ours, HEADER, and has of it what FreeBSD's brings
 * in beside. It is compiled only.
 */
#include HEADER

int main(void)
{
	cap_rights_t rights;
	char name[MAXPATHLEN] = "";
	int fd = open("/dev/null", O_RDONLY);
	if (flock(fd, LOCK_SH) < 0 || MIN(1, 2) != 1 || name[0] || errno)
		return 1;
#ifdef _CAPSICUM_HELPERS_H_
	struct termios terminal;
	struct winsize size;
	time_t now = time(NULL);
	int (*enter)(void) = caph_enter_casper;
	caph_enter_casper();
	if (tcgetattr(STDIN_FILENO, &terminal) < 0 || ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 || !localtime(&now) || enter() < 0)
		return 1;
	catclose(catopen("libc", NL_CAT_LOCALE));
#endif
	return cap_rights_limit(fd, cap_rights_init(&rights, CAP_READ));
}
