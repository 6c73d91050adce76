/* cap_rights_t, as FreeBSD lays it out. */
#ifndef _SYS_CAPRIGHTS_H_
#define _SYS_CAPRIGHTS_H_

#include <stdint.h>

#define CAP_RIGHTS_VERSION_00	0
#define CAP_RIGHTS_VERSION	CAP_RIGHTS_VERSION_00

struct cap_rights {
	uint64_t cr_rights[CAP_RIGHTS_VERSION + 2];
};

#ifndef _CAP_RIGHTS_T_DECLARED
#define _CAP_RIGHTS_T_DECLARED
typedef struct cap_rights cap_rights_t;
#endif

#endif
