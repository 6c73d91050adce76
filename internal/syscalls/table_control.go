package syscalls

import (
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// Commands that x/sys does not name for every architecture.
const (
	fsIocSetFlags    = 0x40086602
	fsIocGetFlags    = 0x80086601
	fsIocGetVersion  = 0x80087601
	fsIocSetVersion  = 0x40087602
	fsIocFiemap      = 0xc020660b
	fsIocGetPolicy   = 0x400c6615
	fsIocGetPolicyEx = 0xc0096616
	fsIocVerity      = 0xc0046686 // FS_IOC_MEASURE_VERITY
	fsIocFsGetXattr  = 0x801c581f
	fsIocFsSetXattr  = 0x401c5820
	xfsIocDioInfo    = 0x800c581e
	xfsIocGeometry   = 0x8100587e

	siocUnixFile     = 0x89e0
	siocGStampNew    = 0x80108906
	siocGStampNsNew  = 0x80108907
	tiocSetD         = 0x5423
	tiocVHangup      = 0x5437
	tiocGPtPeer      = 0x5441
	tiocLinux        = 0x541c
	tiocCons         = 0x541d
	tiocSTI          = 0x5412
	kdSKbEnt         = 0x4b47
	kdSKbSEnt        = 0x4b49
	kdSKbDiacr       = 0x4b4b
	kdSetKeycode     = 0x4b4d
	kdSKbDiacrUC     = 0x4bfb
	fioSetOwn        = 0x8901
	siocSPgrp        = 0x8902
	fioGetOwn        = 0x8903
	siocGPgrp        = 0x8904
	siocAtMark       = 0x8905
	siocGStamp       = 0x8906
	siocGStampNs     = 0x8907
	typeMask         = 0xff00 // the letter of an ioctl command
	fileLetter       = 'f' << 8
	versionLetter    = 'v' << 8
	xfsLetter        = 'X' << 8
	btrfsLetter      = 0x94 << 8
	socketLetter     = 0x89 << 8
	fLast            = 1040 // F_SETDELEG, the newest fcntl command known here
	fSetDeleg        = 1040
	fNotify          = 1026
	fSetLease        = 1024
	fSetOwn          = 8
	fSetOwnEx        = 15
	fatSetAttributes = 0x40047211
	ocfs2Reflink     = 0x40186f04
	bcachefsLetter   = 0xbc << 8
	leaseReason      = "a lease makes others wait when they open the file"
	statusOfPassedIO = "acts on a descriptor that is held; devices exist only where granted, and Landlock decides their ioctls"
)

// blockControls are commands that change a block device for everyone.
var blockControls = is("BLKROSET, BLKRRPART, BLKFLSBUF, BLKRASET, BLKFRASET, BLKSECTSET, BLKPG, BLKBSZSET, BLKTRACE*", 1,
	0x125d, 0x125f, 0x1261, 0x1262, 0x1264, 0x1266, 0x1269, 0x40081271, 0x1274, 0x1275, 0x1276, 0xc0481273)

// flagCommands set flags of a file.
var flagCommands = is("FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FS_IOC_SETVERSION, FAT_IOCTL_SET_ATTRIBUTES", 1,
	fsIocSetFlags, fsIocFsSetXattr, fsIocSetVersion, fatSetAttributes)

// flagsGuarded: file flags change through any descriptor of the file.
func flagsGuarded() Cond { return or(landlock, lacks(rights.Fchflags)) }

var controlGroups = func() []group {
	return []group{
		{"ioctl", "Controls a device or file.", []Rule{
			// The terminal the sandbox shares with the shell that started it.
			refuse(unix.EPERM, "types into the terminal, or pastes into the console, what the shell outside then reads as commands").
				where(is("TIOCSTI, TIOCLINUX", 1, tiocSTI, tiocLinux)),
			refuse(unix.EPERM, "keys given a new meaning stay so after the sandbox has ended").
				where(is("KDSKBENT, KDSKBSENT, KDSKBDIACR, KDSKBDIACRUC, KDSETKEYCODE", 1,
					kdSKbEnt, kdSKbSEnt, kdSKbDiacr, kdSKbDiacrUC, kdSetKeycode)),
			refuse(unix.EPERM, "loads line disciplines, takes the console's output, or hangs up the session outside").
				where(is("TIOCSETD, TIOCCONS, TIOCVHANGUP", 1, tiocSetD, tiocCons, tiocVHangup)),
			refuse(unix.ENOTTY, "opens a terminal without a name the supervisor could judge; callers then open it by name").
				when(landlock).where(is("TIOCGPTPEER", 1, tiocGPtPeer)),

			// File systems: these work through a descriptor open for reading.
			pass("reads and clones").where(is("FS_IOC_GETFLAGS, FS_IOC_FIEMAP, FS_IOC_MEASURE_VERITY, FS_IOC_GET_ENCRYPTION_POLICY*, FS_IOC_FSGETXATTR, "+
				"FS_IOC_GETVERSION, XFS_IOC_DIOINFO, XFS_IOC_FSGEOMETRY, FICLONE, FICLONERANGE, FIDEDUPERANGE", 1,
				fsIocGetFlags, fsIocFiemap, fsIocVerity, fsIocGetPolicy, fsIocGetPolicyEx, fsIocFsGetXattr, fsIocGetVersion,
				xfsIocDioInfo, xfsIocGeometry, unix.FICLONE, unix.FICLONERANGE, unix.FIDEDUPERANGE)),
			refuse(unix.EPERM, throughFD+"; it is refused to all, because no filter can tell which grant the descriptor is from").
				when(flagsGuarded()).where(flagCommands),
			pass("the mount decides").where(flagCommands),
			refuse(unix.ENOTTY, "file systems' own commands make, remove and find names past mounts and Landlock, freeze the file "+
				"system, or change it for everyone").
				where(part("type 'f', 'v', 'X', 0x94 (btrfs), 0xbc (bcachefs)", 1, typeMask,
					fileLetter, versionLetter, xfsLetter, btrfsLetter, bcachefsLetter)),
			refuse(unix.ENOTTY, "makes a name, given in memory, past Landlock").where(is("OCFS2_IOC_REFLINK", 1, ocfs2Reflink)),
			refuse(unix.EPERM, "changes a device for everyone who uses it").where(blockControls),

			// Sockets.
			refuse(unix.EPERM, "opens the file a socket is bound to").where(is("SIOCUNIXFILE", 1, siocUnixFile)),
			refuse(unix.EPERM, "chooses who is signalled when the descriptor is ready: "+outsiders).when(and(landlock, noSignalScope)).
				where(is("FIOSETOWN, SIOCSPGRP", 1, fioSetOwn, siocSPgrp)),
			pass("about the socket itself").where(is("FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP, SIOCATMARK, SIOCGSTAMP*", 1,
				fioSetOwn, siocSPgrp, fioGetOwn, siocGPgrp, siocAtMark, siocGStamp, siocGStampNs, siocGStampNew, siocGStampNsNew)),
			refuse(unix.EPERM, "reads and sets the host's interfaces, through any socket").when(and(landlock, withoutNet)).
				where(part("type 0x89", 1, typeMask, socketLetter)),

			pass(statusOfPassedIO),
		}},
		{"fcntl", "Controls a descriptor.", []Rule{
			refuse(unix.EACCES, leaseReason).where(is("F_SETLEASE", 1, fSetLease), isNot("not F_UNLCK", 2, unix.F_UNLCK)),
			refuse(unix.EACCES, leaseReason+"; what is set is in memory").where(is("F_SETDELEG", 1, fSetDeleg)),
			refuse(unix.EPERM, "chooses who is signalled when the descriptor is ready: "+outsiders).when(and(landlock, noSignalScope)).
				where(is("F_SETOWN", 1, fSetOwn), isNot("not 0", 2, 0)),
			refuse(unix.EPERM, "chooses who is signalled, in memory: "+outsiders).when(and(landlock, noSignalScope)).
				where(is("F_SETOWN_EX", 1, fSetOwnEx)),
			refuse(unix.EPERM, "watches a directory, which a grant withholds").when(lacks(rights.InotifyAdd)).
				where(is("F_NOTIFY", 1, fNotify)),
			refuse(unix.EINVAL, "a command newer than this table").where(above("beyond F_SETDELEG", 1, fLast)),
			pass("concerns the descriptor itself; a lock that keeps others out needs a descriptor open for writing"),
		}},
	}
}
