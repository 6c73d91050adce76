/* How ioctl commands are made up: Linux's macros, and FreeBSD's names for the parts. */
#ifndef _CAPSICUM_SYS_IOCCOM_H_
#define _CAPSICUM_SYS_IOCCOM_H_

#include <sys/ioctl.h>

#ifndef IOCPARM_MASK
#define IOCPARM_MASK	0x3fffU
#endif
#ifndef IOCPARM_MAX
#define IOCPARM_MAX	(IOCPARM_MASK + 1)
#endif
#ifndef IOCPARM_LEN
#define IOCPARM_LEN(x)	(((x) >> 16) & IOCPARM_MASK)
#endif
#ifndef IOCBASECMD
#define IOCBASECMD(x)	((x) & ~(IOCPARM_MASK << 16))
#endif
#ifndef IOCGROUP
#define IOCGROUP(x)	(((x) >> 8) & 0xffU)
#endif
#ifndef IOC_VOID
#define IOC_VOID	0U
#endif
#ifndef IOC_IN
#define IOC_IN		(1U << 30)
#endif
#ifndef IOC_OUT
#define IOC_OUT		(2U << 30)
#endif
#ifndef IOC_INOUT
#define IOC_INOUT	(IOC_IN | IOC_OUT)
#endif
#ifndef IOC_DIRMASK
#define IOC_DIRMASK	(IOC_IN | IOC_OUT)
#endif

#endif
