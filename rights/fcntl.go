package rights

import "math"

// Fcntls is the mask of fcntl commands that a descriptor with [Fcntl] may still
// be used for, as of cap_fcntls_limit(2). A bit is 1 << F_command, so the values
// differ between systems; outside Linux and FreeBSD they are FreeBSD's.
type Fcntls uint32

// FcntlAll (CAP_FCNTL_ALL) is every command that the mask governs.
const FcntlAll = FcntlGetfl | FcntlSetfl | FcntlGetown | FcntlSetown

// IoctlsAll (CAP_IOCTLS_ALL) is the number of commands that stands for an
// unlimited ioctl list in cap_ioctls_get(2): SSIZE_MAX.
const IoctlsAll = math.MaxInt
