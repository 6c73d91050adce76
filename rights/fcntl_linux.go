package rights

import "syscall"

// The fcntl commands that a mask governs.
const (
	FcntlGetfl  Fcntls = 1 << syscall.F_GETFL  // FcntlGetfl (CAP_FCNTL_GETFL) permits F_GETFL
	FcntlSetfl  Fcntls = 1 << syscall.F_SETFL  // FcntlSetfl (CAP_FCNTL_SETFL) permits F_SETFL
	FcntlGetown Fcntls = 1 << syscall.F_GETOWN // FcntlGetown (CAP_FCNTL_GETOWN) permits F_GETOWN
	FcntlSetown Fcntls = 1 << syscall.F_SETOWN // FcntlSetown (CAP_FCNTL_SETOWN) permits F_SETOWN
)
