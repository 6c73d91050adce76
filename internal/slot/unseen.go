package slot

import (
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// handingOn are the numbers of the ioctl commands that take descriptors in memory, or
// let the kernel keep one, without size and direction: seccomp's may have any. Whoever
// issues one on a descriptor of his own reaches through it what he could not use.
var handingOn = []uint64{
	0x2103,                 // SECCOMP_IOCTL_NOTIF_ADDFD
	0x4c00, 0x4c06, 0x4c0a, // LOOP_SET_FD, LOOP_CHANGE_FD, LOOP_CONFIGURE
	0x940d, 0x9436, // FICLONERANGE, FIDEDUPERANGE
	0x9401, 0x9417, 0x9426, // BTRFS_IOC_SNAP_CREATE, BTRFS_IOC_SNAP_CREATE_V2, BTRFS_IOC_SEND
	0x586d, 0x5881, 0x5883, // XFS_IOC_SWAPEXT, XFS_IOC_EXCHANGE_RANGE, XFS_IOC_COMMIT_RANGE
	0x660f, 0xf509, 0xcf03, // EXT4_IOC_MOVE_EXT, F2FS_IOC_MOVE_RANGE, CIFS_IOC_COPYCHUNK_FILE
	0x9374, 0x9375, 0x9376, 0x9377, 0x9378, 0x9379, 0x937a, 0x937b, 0x937c, 0x937d, 0x937e, // autofs: OPENMOUNT to ISMOUNTPOINT
	0xe500, 0xe501, // FUSE_DEV_IOC_CLONE, FUSE_DEV_IOC_BACKING_OPEN
	0x6201, 0x7542, 0x7543, // BINDER_WRITE_READ, UDMABUF_CREATE, UDMABUF_CREATE_LIST
	0x642e, 0x64c2, 0x64cf, // DRM: PRIME_FD_TO_HANDLE, SYNCOBJ_FD_TO_HANDLE, SYNCOBJ_EVENTFD
	0x3e03, 0x6203, // SYNC_IOC_MERGE, DMA_BUF_IOCTL_IMPORT_SYNC_FILE
	0x6992, 0x6993, 0x6994, 0x6783, 0x6784, 0x6785, // IIO and FunctionFS: DMABUF_ATTACH, _DETACH, _ENQUEUE or _TRANSFER
	0xab00, 0x89e0, 0x89e1, // NBD_SET_SOCK, SIOCKCMATTACH, SIOCKCMUNATTACH
	0x54e0, 0x54e1, 0x2405, 0x2408, // TUNSETSTEERINGEBPF, TUNSETFILTEREBPF, PERF_EVENT_IOC_SET_OUTPUT, PERF_EVENT_IOC_SET_BPF
	0x4160, 0x4e82, 0x4e83, // SNDRV_PCM_IOCTL_LINK, NTSYNC_IOC_WAIT_ANY, NTSYNC_IOC_WAIT_ALL
	0xae49, 0xae76, 0xae79, // KVM: SET_USER_MEMORY_REGION2, IRQFD, IOEVENTFD
	0xaea3, 0xaeba, 0xaebd, 0xaec9, 0xaee1, // ENABLE_CAP, MEMORY_ENCRYPT_OP, HYPERV_EVENTFD, XEN_HVM_SET_ATTR, SET_DEVICE_ATTR
	0xaf07, 0xaf20, 0xaf21, 0xaf22, 0xaf30, 0xaf77, // VHOST: SET_LOG_FD, SET_VRING_KICK, _CALL, _ERR, NET_SET_BACKEND, VDPA_SET_CONFIG_CALL
	0x8116, 0xa270, 0xa271, 0xa403, 0xa408, // VDUSE_VQ_SETUP_KICKFD, ACRN IOEVENTFD and IRQFD, SGX PROVISION, TEE SHM_REGISTER_FD
	0x3b68, 0x3b6e, 0x3b71, 0x3b74, 0x3b75, 0x3b76, // VFIO: SET_CONTAINER, SET_IRQS, PCI_HOT_RESET, IOEVENTFD, FEATURE, BIND_IOMMUFD
	0x3b8f, // IOMMU_IOAS_MAP_FILE
}

// HandsOn reports whether an ioctl command takes descriptors in memory, or lets the
// kernel keep one.
func HandsOn(command uint32) bool { return slices.Contains(handingOn, uint64(command&ioctlNumber)) }

// sharers refuses to make a process that shares the descriptor table. A filter is put on
// the threads of one process, so that a limit would not bind the other, nor what the two
// then do through the one table. Limits may follow capability mode, which refuses it, too.
var sharers = []clause{notcapable(hasAny(0, unix.CLONE_FILES), hasNone(0, unix.CLONE_THREAD))}

// unseenGroups lists what reaches any descriptor through memory, in or out of
// capability mode. It is refused from the first limit on where nobody can look.
func unseenGroups() []modeGroup {
	refused := []clause{notcapable()}
	return []modeGroup{
		{"sendmsg sendmmsg", "could pass a limited descriptor on, which would arrive unlimited", refused, nil},
		{"io_submit io_uring_setup io_uring_enter io_uring_register bpf", "names descriptors in memory", refused, nil},
		{"pidfd_getfd", "takes unlimited copies, also out of the process itself", refused, nil},
		{"ioctl", "names descriptors in memory", []clause{
			notcapable(test{arg: 1, op: in, mask: ioctlNumber, values: handingOn}),
		}, nil},
		{"clone", "a process with the same table would not hear of later limits", sharers, nil},
		{"clone3", "its flags are in memory; libraries then use clone", []clause{{nil, unix.ENOSYS}}, nil},
	}
}

// pollGroups lists what waits for descriptors that are named in memory. Without
// descriptors it is a way to sleep.
func pollGroups() []modeGroup {
	return []modeGroup{
		{"poll ppoll", "", []clause{notcapable(isNot(1, 0))}, nil},
		{"select pselect6", "", []clause{notcapable(isNot(0, 0))}, nil},
	}
}

// copies are the calls that make another descriptor of the one in register 0.
var copies = []string{"dup", "dup2", "dup3", "accept", "accept4"}

// unseen adds what is refused where nobody can be asked.
func (p *program) unseen(fd int, c filecaps.Caps, o Options) {
	add := func(name string, list ...clause) {
		if o.CapabilityMode && refusedInMode(name) {
			return
		}
		if len(p.calls[name]) == 0 {
			p.calls[name] = leftToMode(name, o)
		}
		p.calls[name] = slices.Concat(p.calls[name], list)
	}
	if o.Had == nil {
		for _, name := range copies {
			add(name, notcapable(is(0, uint64(fd))))
		}
		add("fcntl", notcapable(is(0, uint64(fd)), is(1, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC)))
		p.lookups(fd, o)
	}
	var groups []modeGroup
	if o.First {
		p.unlisted = unix.ENOSYS
		groups = unseenGroups()
	}
	if o.Poll && !c.Rights.IsSet(rights.Event) {
		groups = append(groups, pollGroups()...)
	}
	for _, g := range groups {
		for _, name := range strings.Fields(g.names) {
			add(name, g.refused...)
		}
	}
}

// directory is a register that a call looks a name up from. A null name, in a
// register too, is none: the call is then about the descriptor itself.
type directory struct {
	name string
	arg  int
	path int // the register that may be null, or 0
}

// directories lists every such register, made when the first limit without a
// supervisor is.
var directories = sync.OnceValue(func() []directory {
	nameless := map[string]int{"newfstatat": 1, "statx": 1, "utimensat": 1, "futimesat": 1, "fanotify_mark": 4}
	var out []directory
	for _, name := range sysno.Names() {
		for arg, kind := range sysno.Args(name) {
			if kind == sysno.DirFD {
				out = append(out, directory{name, arg, nameless[name]})
			}
		}
	}
	return out
})

// lookups refuses every call that resolves a name from fd. In capability mode
// they are refused for every directory.
func (p *program) lookups(fd int, o Options) {
	if o.CapabilityMode {
		return
	}
	for _, d := range directories() {
		c := notcapable(is(d.arg, uint64(fd)))
		if d.path != 0 {
			c.tests = append(c.tests, notNull(d.path))
		}
		p.calls[d.name] = append(p.calls[d.name], c)
	}
}
