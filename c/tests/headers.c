/* Every header, in every language, beside the kernel's capability.h. */
#include <linux/capability.h>
#include <sys/capsicum.h>
#include <sys/caprights.h>
#include <sys/procdesc.h>
#include <capsicum_helpers.h>
#include <linux/capsicum.h>
#include <sys/capsicum.h>

static const cap_ioctl_t commands[] = { 1, 2 };

int main(void)
{
	cap_rights_t rights;
	struct cap_rights *same = &rights;
	unsigned int mode;
	uint32_t mask;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	cap_rights_init(&rights);
	cap_rights_init(&rights, CAP_READ, CAP_FSIGNAL, CAP_EPOLL_CTL, CAP_NOTIFY, CAP_SETNS);
	cap_rights_set(same, CAP_SEEK);
	cap_rights_clear(same, CAP_SEEK);
	if (!cap_rights_is_set(&rights, CAP_READ) || same->cr_rights[0] == 0)
		return 1;
	if (cap_getmode(&mode) != 0 || mode != 0 || cap_sandboxed())
		return 2;
	if (caph_rights_limit(fd, &rights) != 0 || caph_ioctls_limit(fd, commands, 0) != 0)
		return 3;
	if (cap_fcntls_get(fd, &mask) != 0 || mask != 0 || cap_ioctls_get(fd, NULL, 0) != 0)
		return 4;
	if (cap_enter() != 0 || open("/dev/null", O_RDONLY) >= 0 || errno != ECAPMODE)
		return 5;
	return ENOTBENEATH == ENOTCAPABLE && PD_DAEMON != PD_CLOEXEC ? 0 : 6;
}
