/* Process descriptors: the flags of FreeBSD's pdfork(2). */
#ifndef _SYS_PROCDESC_H_
#define _SYS_PROCDESC_H_

#include <sys/types.h>

#define PD_DAEMON	0x00000001	/* closing does not kill */
#define PD_CLOEXEC	0x00000002

#endif
