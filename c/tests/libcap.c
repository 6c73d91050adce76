/* libcap and this library in one program: each does its own work. */
#ifdef OURS_FIRST
#include <sys/capsicum.h>
#include <sys/capability.h>
#else
#include <sys/capability.h>
#include <sys/capsicum.h>
#endif
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What libcap finds of this process, through its own cap_init(). */
static int privileges(char text[256])
{
	cap_t caps = cap_get_proc();
	char *words = caps ? cap_to_text(caps, NULL) : NULL;
	if (!words)
		return -1;
	snprintf(text, 256, "%s", words);
	return cap_free(words) < 0 || cap_free(caps) < 0 ? -1 : 0;
}

int main(void)
{
	char before[256], after[256];
	cap_rights_t rights;
	cap_value_t value;
	cap_t empty = cap_init();
	int fd = open("/dev/null", O_RDWR);

	if (!empty || cap_free(empty) < 0 || cap_from_name("cap_net_raw", &value) < 0 || value != CAP_NET_RAW)
		return 1;
	if (privileges(before) < 0)
		return 2;
	cap_rights_init(&rights, CAP_READ);
	if (cap_rights_limit(fd, &rights) < 0 || write(fd, "x", 1) != -1 || errno != ENOTCAPABLE)
		return 3;
	if (privileges(after) < 0 || strcmp(before, after) != 0)
		return 6;
	if (cap_enter() < 0 || !cap_sandboxed())
		return 4;
	/* Whose they are is in memory, where filters alone can't see it. */
	if (getenv("TEST_ALONE"))
		return privileges(after) < 0 && errno == ECAPMODE ? 0 : 7;
	return privileges(after) < 0 || strcmp(before, after) != 0 ? 5 : 0;
}
