/*
 * The headers in some order, from order.h, which is the first that is included: then
 * what a program does with them.
 */
#include "order.h"

#ifndef NO_LIBRARIES
static cap_value_t privilege = CAP_NET_RAW;
#endif
static const cap_ioctl_t commands[] = {BIOCGSTATS, BIOCROTZBUF, FIODTYPE, FIONREAD, FIOSETOWN, TIOCGWINSZ, TIOCGETA, TIOCDRAIN};
#ifndef NO_LIBRARIES
static struct bpf_insn *from_pcap;
#endif

int main(void)
{
	cap_rights_t rights;
	cap_rights_init(&rights, CAP_READ, CAP_IOCTL);
#ifndef NO_LIBRARIES
	if (privilege == -1 || from_pcap)
		return 1;
#endif
	if (IOCGROUP(_IOR('x', 3, int)) != 'x' || IOCPARM_LEN(_IOR('x', 3, int)) != sizeof(int) || IOC_INOUT != (IOC_IN | IOC_OUT))
		return 2;
	return nitems(commands) == 8 && commands[0] != commands[1] && cap_rights_is_set(&rights, CAP_READ) ? 0 : 3;
}
