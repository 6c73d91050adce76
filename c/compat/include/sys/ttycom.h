/*
 * The ioctl commands of terminals: Linux's, FreeBSD's names of those that are the same
 * with the same argument, and those that it lacks, which do nothing. What tcdrain(),
 * tcflow() and tcflush() call is not what it is on FreeBSD: another argument says what
 * to do, so that the other's name must not be given to it.
 */
#ifndef _CAPSICUM_SYS_TTYCOM_H_
#define _CAPSICUM_SYS_TTYCOM_H_

#include <sys/ioccom.h>
#include <sys/_nowhere.h>

#ifndef TIOCGETA
#define TIOCGETA	TCGETS
#endif
#ifndef TIOCSETA
#define TIOCSETA	TCSETS
#endif
#ifndef TIOCSETAW
#define TIOCSETAW	TCSETSW
#endif
#ifndef TIOCSETAF
#define TIOCSETAF	TCSETSF
#endif
#ifndef TIOCM_DCD
#define TIOCM_DCD	TIOCM_CAR
#endif

#ifndef TIOCFLUSH
#define TIOCFLUSH	_CAPSICUM_NOWHERE(0x10)
#endif
#ifndef TIOCPTMASTER
#define TIOCPTMASTER	_CAPSICUM_NOWHERE(0x11)
#endif
#ifndef TIOCGDRAINWAIT
#define TIOCGDRAINWAIT	_CAPSICUM_NOWHERE(0x12)
#endif
#ifndef TIOCSDRAINWAIT
#define TIOCSDRAINWAIT	_CAPSICUM_NOWHERE(0x13)
#endif
#ifndef TIOCTIMESTAMP
#define TIOCTIMESTAMP	_CAPSICUM_NOWHERE(0x14)
#endif
#ifndef TIOCMGDTRWAIT
#define TIOCMGDTRWAIT	_CAPSICUM_NOWHERE(0x15)
#endif
#ifndef TIOCMSDTRWAIT
#define TIOCMSDTRWAIT	_CAPSICUM_NOWHERE(0x16)
#endif
#ifndef TIOCDRAIN
#define TIOCDRAIN	_CAPSICUM_NOWHERE(0x17)
#endif
#ifndef TIOCEXT
#define TIOCEXT	_CAPSICUM_NOWHERE(0x18)
#endif
#ifndef TIOCSTAT
#define TIOCSTAT	_CAPSICUM_NOWHERE(0x19)
#endif
#ifndef TIOCUCNTL
#define TIOCUCNTL	_CAPSICUM_NOWHERE(0x1a)
#endif
#ifndef TIOCSTART
#define TIOCSTART	_CAPSICUM_NOWHERE(0x1b)
#endif
#ifndef TIOCSTOP
#define TIOCSTOP	_CAPSICUM_NOWHERE(0x1c)
#endif
#ifndef TIOCCDTR
#define TIOCCDTR	_CAPSICUM_NOWHERE(0x1d)
#endif
#ifndef TIOCSDTR
#define TIOCSDTR	_CAPSICUM_NOWHERE(0x1e)
#endif

#endif
