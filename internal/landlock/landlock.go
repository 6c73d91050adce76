// Package landlock builds the ruleset that a sandboxed program runs under:
// what may be done to the files that exist for it, and which processes and
// abstract sockets it may reach.
//
// A ruleset is built from held descriptors, never from paths, and reports the
// ABI it was built for, so that the caller can say what is not enforced.
// See landlock(7).
package landlock

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// Access is a set of LANDLOCK_ACCESS_FS_* bits.
type Access uint64

// What Landlock accepts in a rule on something that is not a directory.
const fileAccess = Access(unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
	unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
	unix.LANDLOCK_ACCESS_FS_IOCTL_DEV | unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX)

// ReadDir lets a directory be listed.
const ReadDir = Access(unix.LANDLOCK_ACCESS_FS_READ_DIR)

// Execute lets the kernel execute a program, which it reads for that.
const Execute = Access(unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE)

// IoctlDev lets a device be controlled.
const IoctlDev = Access(unix.LANDLOCK_ACCESS_FS_IOCTL_DEV)

// abiAccess lists what each ABI added, oldest first.
var abiAccess = []struct {
	abi    int
	access Access
}{
	{1, 1<<13 - 1},
	{2, unix.LANDLOCK_ACCESS_FS_REFER},
	{3, unix.LANDLOCK_ACCESS_FS_TRUNCATE},
	{5, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
	{9, unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX},
}

// scopeABI is the first ABI that scopes signals and abstract sockets.
const scopeABI = 6

// rightAccess says which right each kind of access follows from. All rights of
// a row are needed: a rename removes a name and makes one, and Landlock judges
// moving between directories by REFER alone.
var rightAccess = []struct {
	needs  []rights.Right
	access Access
}{
	{[]rights.Right{rights.Read}, unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR},
	{[]rights.Right{rights.Write}, unix.LANDLOCK_ACCESS_FS_WRITE_FILE},
	{[]rights.Right{rights.Fexecve}, unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE},
	{[]rights.Right{rights.Create}, unix.LANDLOCK_ACCESS_FS_MAKE_REG},
	{[]rights.Right{rights.Mkdirat}, unix.LANDLOCK_ACCESS_FS_MAKE_DIR},
	{[]rights.Right{rights.Mkfifoat}, unix.LANDLOCK_ACCESS_FS_MAKE_FIFO},
	{[]rights.Right{rights.Mknodat}, unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK},
	{[]rights.Right{rights.Symlinkat}, unix.LANDLOCK_ACCESS_FS_MAKE_SYM},
	{[]rights.Right{rights.Bindat}, unix.LANDLOCK_ACCESS_FS_MAKE_SOCK},
	{[]rights.Right{rights.Unlinkat}, unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR},
	{[]rights.Right{rights.RenameatSource, rights.RenameatTarget}, unix.LANDLOCK_ACCESS_FS_REFER},
	{[]rights.Right{rights.LinkatSource, rights.LinkatTarget}, unix.LANDLOCK_ACCESS_FS_REFER},
	{[]rights.Right{rights.Ftruncate}, unix.LANDLOCK_ACCESS_FS_TRUNCATE},
	{[]rights.Right{rights.Ioctl}, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
	{[]rights.Right{rights.Connectat}, unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX},
}

// ForRights returns the access that a grant of set amounts to.
func ForRights(set rights.Set) Access {
	var a Access
	for _, r := range rightAccess {
		if set.IsSet(r.needs...) {
			a |= r.access
		}
	}
	return a
}

// absent are the errnos that say for good that there is no Landlock: the kernel
// was built or started without it, or a container's profile refuses it.
var absent = []error{unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM}

// ABI returns the running kernel's Landlock version, 0 when there is none. Any
// other failure to ask is an error: what may work the next time must not leave
// a sandbox without a layer that others have.
func ABI() (int, error) {
	v, err := sys.LandlockABI()
	switch {
	case err == nil:
		return v, nil
	case slices.Contains(absent, err):
		return 0, nil
	}
	return 0, fmt.Errorf("ask for the Landlock version: %w", err)
}

// HandledBy returns every access that abi can enforce.
func HandledBy(abi int) Access {
	var a Access
	for _, row := range abiAccess {
		if abi >= row.abi {
			a |= row.access
		}
	}
	return a
}

// ScopesSignals reports whether abi keeps signals inside the domain.
func ScopesSignals(abi int) bool { return abi >= scopeABI }

// ScopesAbstractSockets reports whether abi keeps abstract sockets inside the domain.
func ScopesAbstractSockets(abi int) bool { return abi >= scopeABI }

// ResolvesSockets reports whether abi guards path sockets (LANDLOCK_ACCESS_FS_RESOLVE_UNIX).
func ResolvesSockets(abi int) bool { return abi >= 9 }

// SignalsOwnThreads reports whether threads of one process may signal each other
// whatever domains they are in. A Go program needs that. The first kernels that scope
// signals have it as a correction, which they tell of.
func SignalsOwnThreads(abi int) (bool, error) {
	const number = 2 // of the erratum
	if abi < scopeABI {
		return true, nil
	}
	errata, err := sys.LandlockErrata()
	if err != nil {
		return false, fmt.Errorf("ask for Landlock's errata: %w", err)
	}
	return errata&(1<<(number-1)) != 0, nil
}

// Ruleset is a ruleset under construction. Close it when it is installed.
type Ruleset struct {
	fd      *sys.FD
	handled Access
	abi     int
}

// New starts a ruleset that denies everything abi can deny, and keeps signals
// and abstract sockets inside the domain where abi can.
func New(abi int) (*Ruleset, error) {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: uint64(HandledBy(abi))}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if abi >= scopeABI {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size = unsafe.Offsetof(attr.Scoped) + unsafe.Sizeof(attr.Scoped)
	}
	fd, err := sys.LandlockCreate(&attr, size)
	if err != nil {
		return nil, fmt.Errorf("create Landlock ruleset (ABI %d): %w", abi, err)
	}
	return &Ruleset{fd: sys.NewFD(fd), handled: Access(attr.Handled_access_fs), abi: abi}, nil
}

// Allow grants access beneath the directory, or on the file, behind fd.
func (r *Ruleset) Allow(fd int, isDir bool, access Access) error {
	if access = r.Fitting(access, isDir); access == 0 {
		return nil
	}
	if err := sys.LandlockAllow(r.FD(), fd, uint64(access)); err != nil {
		return fmt.Errorf("add Landlock rule: %w", err)
	}
	return nil
}

// Fitting drops what the ABI does not handle, or what has no meaning for a
// file, from access: it is either not denied at all or cannot occur.
func (r *Ruleset) Fitting(access Access, isDir bool) Access {
	access &= r.handled
	if !isDir {
		access &= fileAccess
	}
	return access
}

// FD returns the ruleset's descriptor, for adding rules and restricting between
// fork and exec. It stays the ruleset's.
func (r *Ruleset) FD() int { return r.fd.Int() }

// Close releases the ruleset. Threads it restricted stay restricted.
func (r *Ruleset) Close() error { return r.fd.Close() }
