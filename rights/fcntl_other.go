//go:build !linux && !freebsd

package rights

// The fcntl commands that a mask governs.
const (
	FcntlGetfl  Fcntls = 1 << 3 // FcntlGetfl (CAP_FCNTL_GETFL) permits F_GETFL
	FcntlSetfl  Fcntls = 1 << 4 // FcntlSetfl (CAP_FCNTL_SETFL) permits F_SETFL
	FcntlGetown Fcntls = 1 << 5 // FcntlGetown (CAP_FCNTL_GETOWN) permits F_GETOWN
	FcntlSetown Fcntls = 1 << 6 // FcntlSetown (CAP_FCNTL_SETOWN) permits F_SETOWN
)
