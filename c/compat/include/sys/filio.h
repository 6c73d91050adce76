/* The ioctl commands of files: Linux's, and those that it lacks, which do nothing. */
#ifndef _CAPSICUM_SYS_FILIO_H_
#define _CAPSICUM_SYS_FILIO_H_

#include <sys/ioccom.h>
#include <sys/_nowhere.h>

#ifndef FIOSETOWN
#define FIOSETOWN	0x8901
#endif
#ifndef FIOGETOWN
#define FIOGETOWN	0x8903
#endif
#ifndef FIODTYPE
#define FIODTYPE	_CAPSICUM_NOWHERE(0)
#endif
#ifndef FIOGETLBA
#define FIOGETLBA	_CAPSICUM_NOWHERE(1)
#endif
#ifndef FIODGNAME
#define FIODGNAME	_CAPSICUM_NOWHERE(2)
#endif
#ifndef FIONWRITE
#define FIONWRITE	_CAPSICUM_NOWHERE(3)
#endif
#ifndef FIONSPACE
#define FIONSPACE	_CAPSICUM_NOWHERE(4)
#endif
#ifndef FIOSEEKDATA
#define FIOSEEKDATA	_CAPSICUM_NOWHERE(5)
#endif
#ifndef FIOSEEKHOLE
#define FIOSEEKHOLE	_CAPSICUM_NOWHERE(6)
#endif
#ifndef FIOBMAP2
#define FIOBMAP2	_CAPSICUM_NOWHERE(7)
#endif
#ifndef FIOSSHMLPGCNF
#define FIOSSHMLPGCNF	_CAPSICUM_NOWHERE(8)
#endif
#ifndef FIOGSHMLPGCNF
#define FIOGSHMLPGCNF	_CAPSICUM_NOWHERE(9)
#endif

#endif
