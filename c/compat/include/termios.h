/* The system's <termios.h>, and the commands of terminals, which FreeBSD's has too. */
#ifndef _CAPSICUM_TERMIOS_H_
#define _CAPSICUM_TERMIOS_H_

#pragma GCC system_header
#include_next <termios.h>
#include <sys/ttycom.h>

#endif
