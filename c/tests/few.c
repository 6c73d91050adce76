/*
 * Where few processes are to be had: supervised or alone, and confined in either. Ends
 * with 0 or 7, which says that it is alone.
 */
#define _GNU_SOURCE
#include <capsicum_helpers.h>

#include <stdio.h>
#include <unistd.h>

int main(void)
{
	cap_rights_t rights;
	int fd = open("/proc/self/exe", O_RDONLY);
	int status = 0;

	cap_rights_init(&rights, CAP_READ, CAP_FSTAT);
	if (cap_rights_limit(fd, &rights) < 0) {
		perror("cap_rights_limit");
		return 1;
	}
	usleep(30000); /* a supervisor that can't live has ended */
	if (dup(fd) < 0) {
		if (errno != ENOTCAPABLE) {
			perror("dup");
			return 2;
		}
		status = 7;
	}
	if (cap_enter() < 0) {
		perror("cap_enter");
		return 3;
	}
	if (open("/", O_RDONLY) >= 0 || errno != ECAPMODE || lseek(fd, 0, SEEK_SET) >= 0 || errno != ENOTCAPABLE)
		return 4;
	return status;
}
