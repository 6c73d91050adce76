package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// procFile is a name that a directory of /proc shows.
type procFile struct {
	name string
	kind lookup.ProcKind
}

func kindOf(files []procFile, name string) (lookup.ProcKind, bool) {
	i := slices.IndexFunc(files, func(f procFile) bool { return f.name == name })
	if i < 0 {
		return 0, false
	}
	return files[i].kind, true
}

// machineFiles are the names of /proc that are about the machine. What tells of
// other users' doings, of addresses or of the network is not among them.
var machineFiles = []procFile{
	{"buddyinfo", lookup.ProcFile}, {"cgroups", lookup.ProcFile}, {"cpuinfo", lookup.ProcFile}, {"crypto", lookup.ProcFile},
	{"devices", lookup.ProcFile}, {"filesystems", lookup.ProcFile}, {"loadavg", lookup.ProcFile}, {"meminfo", lookup.ProcFile},
	{"misc", lookup.ProcFile}, {"stat", lookup.ProcFile}, {"swaps", lookup.ProcFile}, {"uptime", lookup.ProcFile},
	{"version", lookup.ProcFile}, {"vmstat", lookup.ProcFile}, {"zoneinfo", lookup.ProcFile},
	{"sys", lookup.ProcDir},
}

var sysDirs = []string{"fs", "kernel", "vm", "user"}

// processFiles are the names in a process's directory. Missing are those that
// show the host's mounts and network, and map_files, which reopens mappings.
var processFiles = []procFile{
	{"attr", lookup.ProcDir}, {"fd", lookup.ProcDir}, {"fdinfo", lookup.ProcDir}, {"ns", lookup.ProcDir}, {"task", lookup.ProcDir},
	{"cwd", lookup.ProcMagic}, {"exe", lookup.ProcMagic}, {"root", lookup.ProcMagic},
	{"arch_status", lookup.ProcFile}, {"auxv", lookup.ProcFile}, {"cgroup", lookup.ProcFile}, {"children", lookup.ProcFile},
	{"clear_refs", lookup.ProcFile}, {"cmdline", lookup.ProcFile}, {"comm", lookup.ProcFile}, {"coredump_filter", lookup.ProcFile},
	{"cpuset", lookup.ProcFile}, {"environ", lookup.ProcFile}, {"gid_map", lookup.ProcFile}, {"io", lookup.ProcFile},
	{"limits", lookup.ProcFile}, {"loginuid", lookup.ProcFile}, {"maps", lookup.ProcFile}, {"mem", lookup.ProcFile},
	{"numa_maps", lookup.ProcFile}, {"oom_adj", lookup.ProcFile}, {"oom_score", lookup.ProcFile}, {"oom_score_adj", lookup.ProcFile},
	{"pagemap", lookup.ProcFile}, {"personality", lookup.ProcFile}, {"projid_map", lookup.ProcFile}, {"sched", lookup.ProcFile},
	{"schedstat", lookup.ProcFile}, {"sessionid", lookup.ProcFile}, {"setgroups", lookup.ProcFile}, {"smaps", lookup.ProcFile},
	{"smaps_rollup", lookup.ProcFile}, {"stack", lookup.ProcFile}, {"stat", lookup.ProcFile}, {"statm", lookup.ProcFile},
	{"status", lookup.ProcFile}, {"syscall", lookup.ProcFile}, {"timers", lookup.ProcFile}, {"timerslack_ns", lookup.ProcFile},
	{"uid_map", lookup.ProcFile}, {"wchan", lookup.ProcFile},
}

// planTables are files whose text is made from the plan.
var planTables = []struct {
	name string
	text func([]*lookup.Entry) string
}{{"mounts", mountsText}, {"mountinfo", mountinfoText}}

// planTable returns what makes the text of such a file, nil for any other.
func planTable(name string) func([]*lookup.Entry) string {
	for _, t := range planTables {
		if t.name == name {
			return t.text
		}
	}
	return nil
}

// fsNames names the file systems programs ask about by their magic number.
var fsNames = []struct {
	magic int64
	name  string
}{
	{unix.EXT4_SUPER_MAGIC, "ext4"}, {unix.TMPFS_MAGIC, "tmpfs"}, {unix.XFS_SUPER_MAGIC, "xfs"}, {unix.BTRFS_SUPER_MAGIC, "btrfs"},
	{unix.OVERLAYFS_SUPER_MAGIC, "overlay"}, {unix.NFS_SUPER_MAGIC, "nfs"}, {unix.FUSE_SUPER_MAGIC, "fuse"}, {unix.PROC_SUPER_MAGIC, "proc"},
	{unix.SQUASHFS_MAGIC, "squashfs"}, {unix.ISOFS_SUPER_MAGIC, "iso9660"}, {unix.MSDOS_SUPER_MAGIC, "vfat"},
}

// mountLine is what both tables know of one grant.
func mountLine(e *lookup.Entry) (fs, options string) {
	if e.Kind == plan.Proc {
		return "proc", "rw,nosuid,nodev,noexec"
	}
	var st unix.Statfs_t
	name := e.Source
	if name == "" {
		name = "/"
	}
	fs = "none"
	if unix.Statfs(name, &st) == nil {
		for _, known := range fsNames {
			if known.magic == int64(st.Type) {
				fs = known.name
			}
		}
	}
	if e.Kind == plan.Tmpfs {
		fs = "tmpfs"
	}
	if e.ReadOnly {
		return fs, "ro,nosuid,nodev"
	}
	return fs, "rw,nosuid,nodev"
}

// escaped writes a name as the kernel does in these tables.
var escaped = sync.OnceValue(func() *strings.Replacer {
	return strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`)
})

func mountsText(entries []*lookup.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fs, options := mountLine(e)
		fmt.Fprintf(&b, "%s %s %s %s 0 0\n", fs, escaped().Replace(e.Dest), fs, options)
	}
	return b.String()
}

func mountinfoText(entries []*lookup.Entry) string {
	var b strings.Builder
	for i, e := range entries {
		fs, options := mountLine(e)
		fmt.Fprintf(&b, "%d 1 %d:%d / %s %s - %s %s %s\n", i+2, unix.Major(e.ID.Dev), unix.Minor(e.ID.Dev),
			escaped().Replace(e.Dest), options, fs, fs, options)
	}
	return b.String()
}

// table opens the file name, made at its first use. It is sealed: its text can
// not be changed through any descriptor of it.
func (t *procTree) table(name string, text func([]*lookup.Entry) string) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	file, ok := t.tables[name]
	if !ok {
		n, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			return -1, err
		}
		file = sys.NewFD(n)
		if err := fill(n, text(t.ns.Entries())); err != nil {
			file.Close()
			return -1, err
		}
		t.tables[name] = file
	}
	return unix.Open(sys.FDName(file.Int()), unix.O_PATH|unix.O_CLOEXEC, 0)
}

func fill(fd int, text string) error {
	for b := []byte(text); len(b) > 0; {
		n, err := unix.Write(fd, b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	if err := unix.Fchmod(fd, 0o444); err != nil {
		return err
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	return err
}

// member reports whether a process belongs to the sandbox. Its line of parents
// is walked twice, because a number may change hands between two looks.
func (t *procTree) member(pid int) bool {
	line := t.s.lineage(pid)
	return line != nil && slices.Equal(line, t.s.lineage(pid))
}

// refresh brings the directory that stands for the root of /proc up to date. It
// is this process's directory and is changed with its own credentials.
func (t *procTree) refresh() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir, err := t.ns.OpenProcDir()
	if err != nil {
		return err
	}
	defer dir.Close()
	want := map[string]bool{}
	for _, pid := range t.s.members() {
		want[procName(pid)] = true
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	fd := int(dir.Fd())
	for _, name := range names {
		if _, ok := number(name); ok && !want[name] {
			if err := unix.Unlinkat(fd, name, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
				return err
			}
		}
	}
	for name := range want {
		if err := unix.Mkdirat(fd, name, 0o555); err != nil && err != unix.EEXIST {
			return err
		}
	}
	return t.fixtures(fd)
}

// fixtures makes the names that are always in /proc.
func (t *procTree) fixtures(fd int) error {
	for _, f := range machineFiles {
		var err error
		if f.kind == lookup.ProcDir {
			err = unix.Mkdirat(fd, f.name, 0o555)
		} else {
			err = unix.Mknodat(fd, f.name, unix.S_IFREG|0o444, 0)
		}
		if err != nil && err != unix.EEXIST {
			return err
		}
	}
	for name, target := range map[string]string{"mounts": "self/mounts", "self": "self", "thread-self": "thread-self"} {
		if err := unix.Symlinkat(target, fd, name); err != nil && err != unix.EEXIST {
			return err
		}
	}
	return nil
}
