/* Everything that headers and shims have, for compilers that are told to find fault. */
#include <sys/ioccom.h>
#include <sys/filio.h>
#include <sys/ttycom.h>
#include <net/bpf.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/caprights.h>
#include <sys/capsicum.h>
#include <sys/procdesc.h>
#include <linux/capsicum.h>
#include <capsicum_helpers.h>

static const cap_ioctl_t commands[] = {BIOCGSTATS, BIOCROTZBUF, FIODTYPE, FIONREAD, TIOCGETA, TIOCSTAT};

int main(void)
{
	cap_rights_t rights;
	int fd = shm_open(SHM_ANON, O_RDWR, 0600);

	CAP_ALL(&rights);
	cap_rights_init(&rights);
	cap_rights_init(&rights, CAP_READ, CAP_WRITE | CAP_SEEK, CAP_FCNTL, CAP_FSIGNAL, CAP_EPOLL_CTL, CAP_NOTIFY, CAP_SETNS, CAP_LINKAT);
	cap_rights_set(&rights, CAP_PDKILL);
	cap_rights_clear(&rights, CAP_PDKILL);
	if (!cap_rights_is_set(&rights, CAP_READ) || CAPIDXBIT(CAP_READ) != 1)
		return 1;
	if (caph_rights_limit(fd, &rights) < 0 || cap_ioctls_limit(fd, commands, nitems(commands)) < 0)
		return 1;
	if (cap_fcntls_limit(fd, CAP_FCNTL_GETFL | CAP_FCNTL_SETFL) < 0 || caph_enter() < 0 || caph_enter_casper() < 0)
		return 1;
	return errno == ENOTBENEATH || PD_DAEMON == PD_CLOEXEC;
}
