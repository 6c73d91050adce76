/* The system's <sys/ioctl.h>, and FreeBSD's names of the commands of files and terminals. */
#ifndef _CAPSICUM_SYS_IOCTL_H_
#define _CAPSICUM_SYS_IOCTL_H_

#pragma GCC system_header
#include_next <sys/ioctl.h>
#include <sys/filio.h>
#include <sys/ttycom.h>

#endif
