/* The system's <sys/param.h>, and nitems(). */
#ifndef _CAPSICUM_SYS_PARAM_H_
#define _CAPSICUM_SYS_PARAM_H_

#pragma GCC system_header
#include_next <sys/param.h>

#ifndef nitems
#define nitems(x)	(sizeof((x)) / sizeof((x)[0]))
#endif

#endif
