/*
 * Commands of another system, for lists of cap_ioctls_limit(). What a list permits is
 * asked of whatever the descriptor is, so a value must be one that no driver here
 * understands: no type 0xfc is given out in Linux's table of ioctl numbers, and no
 * command has a size and no direction.
 */
#ifndef _SYS__NOWHERE_H_
#define _SYS__NOWHERE_H_

#define _CAPSICUM_NOWHERE(number)	(0x2000fc00U | (number))

#endif
