package slot

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

const testFD = 7

// tester is what a test and a property have in common.
type tester interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// answer runs a filter on a call: 0 for passing.
func answer(t tester, arch sysno.Arch, prog []cbpf.Instruction, name string, args [6]uint64) unix.Errno {
	t.Helper()
	nr := request.Number
	if name != "" {
		var ok bool
		if nr, ok = sysno.Nr(arch, name); !ok {
			t.Fatalf("%s has no number on %s", name, arch)
		}
	}
	return value(t, cbpf.Run(prog, cbpf.Data{Nr: uint32(nr), Arch: uint32(arch), Args: args}))
}

func value(t tester, r cbpf.Result) unix.Errno {
	t.Helper()
	switch {
	case r.Value == unix.SECCOMP_RET_ALLOW:
		return 0
	case r.Value&^0xfff == unix.SECCOMP_RET_ERRNO && r.Value&0xfff != 0:
		return unix.Errno(r.Value & 0xfff)
	}
	t.Fatalf("filter answers %#x", r.Value)
	return 0
}

func descriptor(t tester, arch sysno.Arch, c filecaps.Caps, o Options) []cbpf.Instruction {
	t.Helper()
	prog, err := Descriptor(arch, testFD, c, o)
	if err != nil {
		t.Fatal(err)
	}
	return prog
}

// capsWith returns caps that have exactly s, with lists and masks as wide as that
// permits.
func capsWith(t tester, s rights.Set) filecaps.Caps {
	t.Helper()
	c, err := filecaps.Full().LimitRights(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// exact are options under which what the table of rights says is all that is
// asked.
var exact = Options{Mprotect: true}

// elsewhere are descriptor registers that no filter of a descriptor judges.
var elsewhere = map[string]string{
	"close":                  "needs no right",
	"dup":                    "needs no right; the copy is judged by who makes it",
	"dup2":                   "as dup",
	"dup3":                   "as dup",
	"fadvise64":              "needs no right",
	"landlock_add_rule":      "restricts only",
	"landlock_restrict_self": "restricts only",
	"io_uring_enter":         "rings are refused as a whole",
	"io_uring_register":      "rings are refused as a whole",
	"open_by_handle_at":      "privileged; names a mount",
	"finit_module":           "privileged: who may load modules needs no descriptor",
	"kexec_file_load":        "privileged, as finit_module",
	"perf_event_open":        "only groups counters",
}

func isFD(k sysno.Kind) bool { return k == sysno.FD }

// TestEveryRegister holds the table to all registers that are descriptors.
func TestEveryRegister(t *testing.T) {
	covered := map[string][]int{}
	for _, r := range table() {
		for _, n := range r.needs {
			covered[r.name] = append(covered[r.name], n.arg)
		}
	}
	for _, name := range sysno.Names() {
		for arg, kind := range sysno.Args(name) {
			if !isFD(kind) {
				continue
			}
			_, excused := elsewhere[name]
			if name == "pidfd_getfd" && arg == 1 {
				excused = true // a number of the other process
			}
			if has := slices.Contains(covered[name], arg); has == excused {
				t.Errorf("%s, argument %d: in the table %v, excused %v", name, arg, has, excused)
			}
		}
	}
	for name := range covered {
		if !slices.Contains(sysno.Names(), name) {
			t.Errorf("the table has %s, which is no call", name)
		}
	}
}

// byLookup are operations whose descriptor is a directory that a name is looked up
// in, or which never reach a descriptor's filter.
var byLookup = map[string]string{
	"execveat": "the program is judged by who can read its name", "name_to_handle_at": "the name is in memory",
	"io_submit": "the descriptors are in memory", "poll": "the descriptors are in memory", "ppoll": "the descriptors are in memory",
	"select": "the descriptors are in memory", "pselect6": "the descriptors are in memory",
}

// ownNeeds are rows that ask in another way than a list of rights.
var ownNeeds = []string{"sendmsg", "sendmmsg", // the address is in memory
	"fcntl", "ioctl", "fanotify_mark", "vmsplice", "setns", "process_madvise", "process_mrelease", "quotactl_fd", "fsmount", "fspick", "mount_setattr", "move_mount", "fsconfig"}

// TestAgreesWithRights compares the table with what rights.For says, in both
// directions.
func TestAgreesWithRights(t *testing.T) {
	for _, r := range table() {
		needs, ok := rights.For(r.name)
		if slices.Contains(ownNeeds, r.name) {
			continue
		}
		if !ok {
			t.Errorf("%s is in the table, and not among the operations", r.name)
		}
		for _, n := range r.needs {
			if !slices.ContainsFunc(needs, func(want rights.Need) bool { return want.Rights == n.rights }) {
				t.Errorf("%s asks for %v, which the operation does not", r.name, n.rights)
			}
		}
	}
	for _, op := range rights.Ops() {
		needs, _ := rights.For(op)
		if !slices.Contains(sysno.Names(), op) || slices.Contains(ownNeeds, op) || byLookup[op] != "" {
			continue
		}
		i := slices.IndexFunc(table(), func(r row) bool { return r.name == op })
		for _, want := range needs {
			if want.Arg == "dir" && want.Rights.IsSet(rights.Lookup) || want.Arg == "olddir" || want.Arg == "newdir" {
				continue // in a directory
			}
			if want.Arg == "dir" && i < 0 {
				continue // fchmodat and the like
			}
			if i < 0 || !slices.ContainsFunc(table()[i].needs, func(n need) bool { return n.rights == want.Rights }) {
				t.Errorf("%s does not ask for %v (%s) on %s", op, want.Rights, want.When, want.Arg)
			}
		}
	}
	for _, want := range mustFor(t, "fcntl") {
		if !slices.ContainsFunc(commands(), func(c command) bool { return c.rights == want.Rights }) {
			t.Errorf("no fcntl command asks for %v: %s", want.Rights, want.When)
		}
	}
}

func mustFor(t *testing.T, op string) []rights.Need {
	t.Helper()
	needs, ok := rights.For(op)
	if !ok {
		t.Fatalf("%s is no operation", op)
	}
	return needs
}

// sample is a call on testFD and the rights that it needs, neither more nor less.
type sample struct {
	name string
	args [6]uint64
	need []rights.Right
}

const (
	null     = 0
	ptr      = 0x7f0000001000
	other    = 9
	high     = 1 << 32 // ignored by the kernel where it reads 32 bits
	everyBit = 1<<64 - 1
)

// samples has every row, and every condition of every row.
var samples = []sample{
	{"read", [6]uint64{testFD}, []rights.Right{rights.Read}},
	{"read", [6]uint64{testFD | high}, []rights.Right{rights.Read}},
	{"readv", [6]uint64{testFD}, []rights.Right{rights.Read}},
	{"getdents64", [6]uint64{testFD}, []rights.Right{rights.Read}},
	{"readahead", [6]uint64{testFD}, []rights.Right{rights.Read}},
	{"recvfrom", [6]uint64{testFD}, []rights.Right{rights.Read}},
	{"recvmsg", [6]uint64{testFD}, []rights.Right{rights.Read}},
	{"recvmmsg", [6]uint64{testFD}, []rights.Right{rights.Read}},
	{"mq_timedreceive", [6]uint64{testFD}, []rights.Right{rights.Read}},
	{"timerfd_gettime", [6]uint64{testFD}, []rights.Right{rights.Read}},
	{"write", [6]uint64{testFD}, []rights.Right{rights.Write}},
	{"writev", [6]uint64{testFD}, []rights.Right{rights.Write}},
	{"sendmsg", [6]uint64{testFD}, []rights.Right{rights.Write}},
	{"sendmmsg", [6]uint64{testFD}, []rights.Right{rights.Write}},
	{"mq_timedsend", [6]uint64{testFD}, []rights.Right{rights.Write}},
	{"signalfd4", [6]uint64{testFD}, []rights.Right{rights.Write}},
	{"timerfd_settime", [6]uint64{testFD, 0, ptr, null}, []rights.Right{rights.Write}},
	{"timerfd_settime", [6]uint64{testFD, 0, ptr, ptr}, []rights.Right{rights.Write, rights.Read}},
	{"pread64", [6]uint64{testFD}, []rights.Right{rights.Pread}},
	{"preadv", [6]uint64{testFD}, []rights.Right{rights.Pread}},
	{"pwrite64", [6]uint64{testFD}, []rights.Right{rights.Pwrite}},
	{"pwritev", [6]uint64{testFD}, []rights.Right{rights.Pwrite}},
	{"fallocate", [6]uint64{testFD}, []rights.Right{rights.Pwrite}},
	{"preadv2", [6]uint64{testFD, ptr, 1, everyBit}, []rights.Right{rights.Read}},
	{"preadv2", [6]uint64{testFD, ptr, 1, 0}, []rights.Right{rights.Pread}},
	{"preadv2", [6]uint64{testFD, ptr, 1, 0xffffffff}, []rights.Right{rights.Pread}},
	{"preadv2", [6]uint64{testFD, ptr, 1, 0xffffffff << 32}, []rights.Right{rights.Pread}},
	{"preadv2", [6]uint64{testFD, ptr, 1, everyBit, 0, high | 0x1df}, []rights.Right{rights.Read}},
	{"preadv2", [6]uint64{testFD, ptr, 1, everyBit, 0, 0x200}, []rights.Right{rights.Read, rights.Seek}}, // a flag of the future
	{"pwritev2", [6]uint64{testFD, ptr, 1, everyBit}, []rights.Right{rights.Write}},
	{"pwritev2", [6]uint64{testFD, ptr, 1, everyBit, 0, high | 0x1d9}, []rights.Right{rights.Write}}, // all known but those below
	{"pwritev2", [6]uint64{testFD, ptr, 1, everyBit, 0, unix.RWF_NOAPPEND}, []rights.Right{rights.Write, rights.Seek}},
	{"pwritev2", [6]uint64{testFD, ptr, 1, 0, 0, unix.RWF_NOAPPEND | unix.RWF_APPEND}, []rights.Right{rights.Write, rights.Seek}},
	{"pwritev2", [6]uint64{testFD, ptr, 1, everyBit, 0, high | 1<<31}, []rights.Right{rights.Write, rights.Seek}},
	{"pwritev2", [6]uint64{testFD, ptr, 1, everyBit, 0, unix.RWF_NOAPPEND | unix.RWF_DSYNC}, []rights.Right{rights.Write, rights.Seek, rights.Fsync}},
	{"pwritev2", [6]uint64{testFD, ptr, 1, 1 << 40}, []rights.Right{rights.Pwrite}},
	{"pwritev2", [6]uint64{testFD, ptr, 1, 0, 0, unix.RWF_APPEND}, []rights.Right{rights.Write}},
	{"pwritev2", [6]uint64{testFD, ptr, 1, everyBit, 0, unix.RWF_SYNC}, []rights.Right{rights.Write, rights.Fsync}},
	{"pwritev2", [6]uint64{testFD, ptr, 1, 0, 0, unix.RWF_DSYNC}, []rights.Right{rights.Pwrite, rights.Fsync}},
	{"lseek", [6]uint64{testFD}, []rights.Right{rights.Seek}},
	{"fsync", [6]uint64{testFD}, []rights.Right{rights.Fsync}},
	{"fdatasync", [6]uint64{testFD}, []rights.Right{rights.Fsync}},
	{"syncfs", [6]uint64{testFD}, []rights.Right{rights.Fsync}},
	{"sync_file_range", [6]uint64{testFD}, []rights.Right{rights.Fsync, rights.Seek}},
	{"ftruncate", [6]uint64{testFD}, []rights.Right{rights.Ftruncate}},
	{"copy_file_range", [6]uint64{testFD, null, other, ptr}, []rights.Right{rights.Read}},
	{"copy_file_range", [6]uint64{testFD, ptr, other, null}, []rights.Right{rights.Pread}},
	{"copy_file_range", [6]uint64{testFD, 1 << 32, other, null}, []rights.Right{rights.Pread}},
	{"copy_file_range", [6]uint64{other, ptr, testFD, null}, []rights.Right{rights.Write}},
	{"copy_file_range", [6]uint64{other, null, testFD, ptr}, []rights.Right{rights.Pwrite}},
	{"copy_file_range", [6]uint64{testFD, null, testFD, null}, []rights.Right{rights.Read, rights.Write}},
	{"splice", [6]uint64{testFD, null, other, ptr}, []rights.Right{rights.Read}},
	{"splice", [6]uint64{testFD, ptr, other, ptr}, []rights.Right{rights.Pread}},
	{"splice", [6]uint64{other, ptr, testFD, null}, []rights.Right{rights.Write}},
	{"splice", [6]uint64{other, ptr, testFD, ptr}, []rights.Right{rights.Pwrite}},
	{"sendfile", [6]uint64{testFD, other}, []rights.Right{rights.Write}},
	{"sendfile", [6]uint64{other, testFD}, []rights.Right{rights.Pread}},
	{"tee", [6]uint64{testFD, other}, []rights.Right{rights.Read}},
	{"tee", [6]uint64{other, testFD}, []rights.Right{rights.Write}},
	{"vmsplice", [6]uint64{testFD}, []rights.Right{rights.Write}},
	{"mmap", [6]uint64{0, 1, unix.PROT_NONE, unix.MAP_SHARED, testFD}, []rights.Right{rights.Mmap}},
	{"mmap", [6]uint64{0, 1, unix.PROT_READ, unix.MAP_SHARED, testFD | high}, []rights.Right{rights.MmapR}},
	{"mmap", [6]uint64{0, 1, unix.PROT_WRITE, unix.MAP_SHARED, testFD}, []rights.Right{rights.MmapW}},
	{"mmap", [6]uint64{0, 1, unix.PROT_WRITE, unix.MAP_SHARED_VALIDATE, testFD}, []rights.Right{rights.MmapW}},
	{"mmap", [6]uint64{0, 1, unix.PROT_WRITE, unix.MAP_PRIVATE, testFD}, []rights.Right{rights.Mmap}},
	{"mmap", [6]uint64{0, 1, unix.PROT_EXEC, unix.MAP_PRIVATE, testFD}, []rights.Right{rights.MmapX}},
	{"mmap", [6]uint64{0, 1, 7, unix.MAP_SHARED, testFD}, []rights.Right{rights.MmapRWX}},
	{"fstat", [6]uint64{testFD}, []rights.Right{rights.Fstat}},
	{"cachestat", [6]uint64{testFD}, []rights.Right{rights.Fstat}},
	{"newfstatat", [6]uint64{testFD, null, ptr, unix.AT_EMPTY_PATH}, []rights.Right{rights.Fstat}},
	{"statx", [6]uint64{testFD, null, unix.AT_EMPTY_PATH}, []rights.Right{rights.Fstat}},
	{"fstatfs", [6]uint64{testFD}, []rights.Right{rights.Fstatfs}},
	{"fchmod", [6]uint64{testFD}, []rights.Right{rights.Fchmod}},
	{"fchown", [6]uint64{testFD}, []rights.Right{rights.Fchown}},
	{"utimensat", [6]uint64{testFD, null}, []rights.Right{rights.Futimes}},
	{"fgetxattr", [6]uint64{testFD}, []rights.Right{rights.ExtattrGet}},
	{"fsetxattr", [6]uint64{testFD}, []rights.Right{rights.ExtattrSet}},
	{"flistxattr", [6]uint64{testFD}, []rights.Right{rights.ExtattrList}},
	{"fremovexattr", [6]uint64{testFD}, []rights.Right{rights.ExtattrDelete}},
	{"fchdir", [6]uint64{testFD}, []rights.Right{rights.Fchdir}},
	{"flock", [6]uint64{testFD}, []rights.Right{rights.Flock}},
	{"fcntl", [6]uint64{testFD, unix.F_GETFL}, []rights.Right{rights.Fcntl}},
	{"fcntl", [6]uint64{testFD, unix.F_SETOWN_EX | high}, []rights.Right{rights.Fcntl}},
	{"fcntl", [6]uint64{testFD, unix.F_OFD_SETLKW}, []rights.Right{rights.Flock}},
	{"fcntl", [6]uint64{testFD, unix.F_SETLEASE}, []rights.Right{rights.Flock, rights.Event}},
	{"fcntl", [6]uint64{testFD, unix.F_SETSIG}, []rights.Right{rights.Fcntl, rights.Event}},
	{"fcntl", [6]uint64{testFD, unix.F_NOTIFY}, []rights.Right{rights.InotifyAdd}},
	{"fcntl", [6]uint64{testFD, unix.F_GETPIPE_SZ}, []rights.Right{rights.Getsockopt}},
	{"fcntl", [6]uint64{testFD, unix.F_SETPIPE_SZ}, []rights.Right{rights.Setsockopt}},
	{"fcntl", [6]uint64{testFD, unix.F_GET_SEALS}, []rights.Right{rights.Fstat}},
	{"fcntl", [6]uint64{testFD, unix.F_ADD_SEALS}, []rights.Right{rights.Fchmod}},
	{"ioctl", [6]uint64{testFD, unix.TCGETS}, []rights.Right{rights.Ioctl}},
	{"ioctl", [6]uint64{testFD, 0x5451}, []rights.Right{rights.Ioctl}}, // FIOCLEX
	{"ioctl", [6]uint64{other, unix.FICLONE, testFD}, []rights.Right{rights.Pread}},
	{"epoll_ctl", [6]uint64{testFD, 1, other}, []rights.Right{rights.KqueueChange}},
	{"epoll_ctl", [6]uint64{other, 1, testFD}, []rights.Right{rights.Event}},
	{"epoll_pwait", [6]uint64{testFD}, []rights.Right{rights.KqueueEvent}},
	{"epoll_pwait2", [6]uint64{testFD}, []rights.Right{rights.KqueueEvent}},
	{"inotify_add_watch", [6]uint64{testFD}, []rights.Right{rights.InotifyAdd}},
	{"inotify_rm_watch", [6]uint64{testFD}, []rights.Right{rights.InotifyRm}},
	{"fanotify_mark", [6]uint64{testFD, unix.FAN_MARK_ADD, 0, other}, []rights.Right{rights.InotifyAdd}},
	{"fanotify_mark", [6]uint64{testFD, unix.FAN_MARK_REMOVE, 0, other}, []rights.Right{rights.InotifyRm}},
	{"fanotify_mark", [6]uint64{testFD, unix.FAN_MARK_FLUSH, 0, other}, []rights.Right{rights.InotifyRm}},
	{"fanotify_mark", [6]uint64{other, unix.FAN_MARK_ADD, 0, testFD, null}, []rights.Right{rights.Fstat}},
	{"mq_notify", [6]uint64{testFD}, []rights.Right{rights.Event}},
	{"mq_getsetattr", [6]uint64{testFD}, []rights.Right{rights.Event}},
	{"accept", [6]uint64{testFD}, []rights.Right{rights.Accept}},
	{"accept4", [6]uint64{testFD}, []rights.Right{rights.Accept}},
	{"bind", [6]uint64{testFD}, []rights.Right{rights.Bind}},
	{"connect", [6]uint64{testFD}, []rights.Right{rights.Connect}},
	{"listen", [6]uint64{testFD}, []rights.Right{rights.Listen}},
	{"shutdown", [6]uint64{testFD}, []rights.Right{rights.Shutdown}},
	{"getpeername", [6]uint64{testFD}, []rights.Right{rights.Getpeername}},
	{"getsockname", [6]uint64{testFD}, []rights.Right{rights.Getsockname}},
	{"getsockopt", [6]uint64{testFD}, []rights.Right{rights.Getsockopt}},
	{"setsockopt", [6]uint64{testFD}, []rights.Right{rights.Setsockopt}},
	{"sendto", [6]uint64{testFD, ptr, 1, 0, null, 0}, []rights.Right{rights.Write}},
	{"sendto", [6]uint64{testFD, ptr, 1, 0, ptr, 16}, []rights.Right{rights.Write, rights.Connect}},
	{"pidfd_send_signal", [6]uint64{testFD}, []rights.Right{rights.Pdkill}},
	{"pidfd_getfd", [6]uint64{testFD}, []rights.Right{rights.Pddupfd}},
	{"waitid", [6]uint64{pPidfd, testFD}, []rights.Right{rights.Pdwait}},
}

// TestSamples runs each call with its rights, with all others, and with each of
// its rights missing.
func TestSamples(t *testing.T) {
	for _, arch := range sysno.Arches() {
		for _, s := range samples {
			if _, ok := sysno.Nr(arch, s.name); !ok {
				t.Errorf("%s is not on %s: sample one that is on both", s.name, arch)
				continue
			}
			need := rights.Of(s.need...)
			if got := answer(t, arch, descriptor(t, arch, capsWith(t, need), exact), s.name, s.args); got != 0 {
				t.Errorf("%s %s%x with just %v: %v", arch, s.name, s.args, need, got)
			}
			if got := answer(t, arch, descriptor(t, arch, capsWith(t, rights.All().Minus(need)), exact), s.name, s.args); got != filecaps.ENOTCAPABLE {
				t.Errorf("%s %s%x without %v: %v", arch, s.name, s.args, need, got)
			}
			for _, bit := range slices.Concat(need.Rights(), s.need) { // pwrite is write and seek, say
				less := rights.All()
				less.Remove(onlyBit(bit))
				if got := answer(t, arch, descriptor(t, arch, capsWith(t, less), exact), s.name, s.args); got != filecaps.ENOTCAPABLE {
					t.Errorf("%s %s%x without %v: %v", arch, s.name, s.args, bit, got)
				}
			}
			elsewhere := s.args
			for i, v := range elsewhere {
				if uint32(v) == testFD {
					elsewhere[i] = v + 1
				}
			}
			if got := answer(t, arch, descriptor(t, arch, filecaps.Caps{}, exact), s.name, elsewhere); got != 0 {
				t.Errorf("%s %s%x is refused for descriptor %d: %v", arch, s.name, elsewhere, testFD, got)
			}
		}
	}
}

// onlyBit returns a bit of r.
func onlyBit(r rights.Right) rights.Set {
	s := rights.Of(r)
	w := s.Words()
	for i := range w {
		if bits := w[i] & (1<<RightBits - 1); bits != 0 {
			w[i] = w[i]&^(1<<RightBits-1) | bits&-bits
			w[1-i] &^= 1<<RightBits - 1
			break
		}
	}
	out, err := rights.FromWords(w[:])
	if err != nil {
		panic(err)
	}
	return out
}

// TestSampled keeps the samples complete: each row and each of its conditions.
func TestSampled(t *testing.T) {
	unneeded := []string{"setns", "process_madvise", "process_mrelease"}
	legacy := map[string]string{"getdents": "getdents64", "futimesat": "utimensat", "epoll_wait": "epoll_pwait", "signalfd": "signalfd4"}
	for _, r := range table() {
		name := r.name
		if l := legacy[name]; l != "" {
			name = l
		}
		if slices.Contains(unneeded, name) {
			continue
		}
		for i, n := range r.needs {
			if n.when != nil && !n.when(exact) {
				continue
			}
			if !slices.ContainsFunc(samples, func(s sample) bool {
				return s.name == name && uint32(s.args[n.arg]) == testFD && n.list == nil == rights.Of(s.need...).Contains(n.rights) &&
					!slices.ContainsFunc(n.tests, func(c test) bool { return !c.holds(s.args) })
			}) && n.list == nil {
				t.Errorf("no sample of %s, need %d: %v", r.name, i, n.rights)
			}
		}
	}
}

func TestStrictMappings(t *testing.T) {
	for _, c := range []struct {
		name     string
		have     rights.Right
		readOnly bool
		flags    uint64
		prot     uint64
		want     unix.Errno
	}{
		{"any mapping could be made readable", rights.Mmap, true, unix.MAP_PRIVATE, unix.PROT_NONE, filecaps.ENOTCAPABLE},
		{"executable ones too", rights.MmapX, true, unix.MAP_PRIVATE, unix.PROT_EXEC, filecaps.ENOTCAPABLE},
		{"a private one", rights.MmapR, false, unix.MAP_PRIVATE, unix.PROT_READ, 0},
		{"a shared one could be made writable", rights.MmapR, false, unix.MAP_SHARED, unix.PROT_READ, filecaps.ENOTCAPABLE},
		{"but not of a file open for reading", rights.MmapR, true, unix.MAP_SHARED, unix.PROT_READ, 0},
		{"writable", rights.MmapRW, false, unix.MAP_SHARED, 3, 0},
	} {
		for _, arch := range sysno.Arches() {
			prog := descriptor(t, arch, capsWith(t, rights.Of(c.have)), Options{ReadOnly: c.readOnly})
			if got := answer(t, arch, prog, "mmap", [6]uint64{0, 4096, c.prot, c.flags, testFD}); got != c.want {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
	}
}

// genCaps draws caps.
func genCaps(t *rapid.T, label string) filecaps.Caps {
	list := rapid.SliceOf(rapid.SampledFrom(allBitsOf())).Draw(t, label)
	var s rights.Set
	for _, b := range list {
		s.Merge(b)
	}
	if rapid.Bool().Draw(t, label+" inverted") {
		s = rights.All().Minus(s)
	}
	c, err := filecaps.Full().LimitRights(s)
	if err != nil {
		t.Fatal(err)
	}
	if c.Rights.IsSet(rights.Fcntl) {
		c.Fcntls &= rights.Fcntls(rapid.Uint32().Draw(t, label+" fcntls"))
	}
	if c.Rights.IsSet(rights.Ioctl) && rapid.Bool().Draw(t, label+" listed") {
		c, err = c.LimitIoctls(rapid.SliceOfN(rapid.SampledFrom(controls), 0, 4).Draw(t, label+" ioctls"))
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

var controls = []uint32{unix.TCGETS, 0x541b, unix.FICLONE, unix.FICLONERANGE, 0x8901, 0x8913, 0x894b, 0x5451, 0x8b01}

func allBitsOf() []rights.Set {
	var out []rights.Set
	all := rights.All().Words()
	for word := range all {
		for bit := range RightBits {
			if all[word]&(1<<bit) != 0 {
				w := rights.Set{}.Words()
				w[word] |= 1 << bit
				s, err := rights.FromWords(w[:])
				if err != nil {
					panic(err)
				}
				out = append(out, s)
			}
		}
	}
	return out
}

func genOptions(t *rapid.T) Options {
	static := rapid.Bool().Draw(t, "static")
	return Options{
		CapabilityMode: rapid.Bool().Draw(t, "mode"), ReadOnly: rapid.Bool().Draw(t, "readonly"), Static: static,
		Mprotect: !static && rapid.Bool().Draw(t, "mprotect"), First: rapid.Bool().Draw(t, "first"), Poll: rapid.Bool().Draw(t, "poll"),
	}
}

// registers are values that registers of interesting calls have.
var registers = []uint64{testFD, testFD | high, testFD | 0xffffffff<<32, other, 0, 1, 2, 3, 4, everyBit, atCWD, 0xffffffff<<32 | atCWD, ptr, high,
	0x20, 0x10, 0x80, 0x1000, unix.MAP_ANONYMOUS | unix.MAP_PRIVATE, unix.TCGETS, unix.FICLONE, 0x8901, 0x8913, 0x894b, 0x5451, 0x8b01,
	unix.F_SETFL, unix.F_GETLK, unix.F_OFD_GETLK, unix.F_SETLEASE, unix.F_DUPFD_CLOEXEC, unix.F_ADD_SEALS, 999, unix.FICLONERANGE, unix.CLONE_FILES}

func genArgs(t *rapid.T) (args [6]uint64) {
	for i := range args {
		args[i] = rapid.SampledFrom(registers).Draw(t, "register")
	}
	return args
}

func genArch(t *rapid.T) sysno.Arch { return rapid.SampledFrom(sysno.Arches()).Draw(t, "arch") }

func nameOf(t *rapid.T, arch sysno.Arch) string {
	var names []string
	for _, e := range sysno.Table(arch) {
		names = append(names, e.Name)
	}
	for _, r := range table() { // more often those that matter
		if _, ok := sysno.Nr(arch, r.name); ok {
			names = append(names, r.name, r.name, r.name, r.name)
		}
	}
	return rapid.SampledFrom(names).Draw(t, "call")
}

func must(t *rapid.T, arch sysno.Arch, c filecaps.Caps, o Options) []cbpf.Instruction {
	prog, err := Descriptor(arch, testFD, c, o)
	if err != nil {
		t.Fatal(err)
	}
	return prog
}

// TestFilterIsTable: code and clauses say the same, and who decides call by call agrees.
func TestFilterIsTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arch, c, o := genArch(t), genCaps(t, "caps"), genOptions(t)
		o.Static, o.CapabilityMode = false, false
		prog := must(t, arch, c, o)
		for range 50 {
			name, args := nameOf(t, arch), genArgs(t)
			got := answer(t, arch, prog, name, args)
			var want unix.Errno
			for _, r := range table() {
				if r.name == name {
					want = decide(r.clauses(testFD, c, o), args)
				}
			}
			if got != want {
				t.Fatalf("%s%x: the filter says %d, the table %d", name, args, got, want)
			}
			unmet := slices.ContainsFunc(Needs(name, args), func(n Need) bool { return n.FD == testFD && !n.Met(c, o) })
			if unmet != (got != 0) {
				t.Fatalf("%s%x: judged differently", name, args)
			}
		}
	})
}

// TestOtherNumbers: a filter without First refuses nothing of other descriptors.
func TestOtherNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arch, c, o := genArch(t), genCaps(t, "caps"), genOptions(t)
		o.First, o.Poll = false, false
		prog := must(t, arch, c, o)
		for range 50 {
			name, args := nameOf(t, arch), genArgs(t)
			for i, v := range args {
				if uint32(v) == testFD {
					args[i] = v + 100
				}
			}
			got := answer(t, arch, prog, name, args)
			if got == filecaps.ECAPMODE || got == unix.ENOSYS || got != 0 && !o.CapabilityMode {
				t.Fatalf("%s%x is refused for descriptor %d: %v", name, args, testFD, got)
			}
		}
	})
}

// TestMonotonic: less caps refuse more.
func TestMonotonic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arch, c, o := genArch(t), genCaps(t, "caps"), genOptions(t)
		d := c.Intersect(genCaps(t, "limit"))
		wide, narrow := must(t, arch, c, o), must(t, arch, d, o)
		for range 50 {
			name, args := nameOf(t, arch), genArgs(t)
			if answer(t, arch, wide, name, args) != 0 && answer(t, arch, narrow, name, args) == 0 {
				t.Fatalf("%s%x is refused with more rights and not with less", name, args)
			}
		}
	})
}

// TestHad: what an earlier filter refuses may be left out, and nothing else.
func TestHad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arch, c, o := genArch(t), genCaps(t, "caps"), genOptions(t)
		d := c.Intersect(genCaps(t, "limit"))
		o.First, o.Poll = false, false
		before := o
		before.ReadOnly = rapid.Bool().Draw(t, "was readonly")
		before.CapabilityMode = o.CapabilityMode && rapid.Bool().Draw(t, "was in mode")
		old, whole := must(t, arch, c, before), must(t, arch, d, o)
		o.Had = &Had{Caps: c, ReadOnly: before.ReadOnly}
		rest := must(t, arch, d, o)
		mode, err := CapabilityMode(arch)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(name string, args [6]uint64) {
			refused := answer(t, arch, old, name, args) != 0 || answer(t, arch, rest, name, args) != 0
			if o.CapabilityMode && name != "" {
				refused = refused || answer(t, arch, mode, name, args) != 0
			}
			if !refused && answer(t, arch, whole, name, args) != 0 {
				t.Fatalf("%q %x passes the old filter and the rest, and not the whole", name, args)
			}
		}
		for range 50 {
			ask(nameOf(t, arch), genArgs(t))
			ask("", [6]uint64{rapid.Uint64Range(OpHas, OpPoll).Draw(t, "op"), testFD, rapid.Uint64Range(0, IndexReadOnly).Draw(t, "index")})
		}
	})
}

// TestModeFirst: what capability mode refuses with ECAPMODE a limit made later
// does not refuse with anything else.
func TestModeFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arch, c, o := genArch(t), genCaps(t, "caps"), genOptions(t)
		o.CapabilityMode = true
		prog := must(t, arch, c, o)
		mode, err := CapabilityMode(arch)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			name, args := nameOf(t, arch), genArgs(t)
			if answer(t, arch, mode, name, args) == filecaps.ECAPMODE && answer(t, arch, prog, name, args) == filecaps.ENOTCAPABLE {
				t.Fatalf("%s%x is ENOTCAPABLE, and not ECAPMODE", name, args)
			}
		}
	})
}

func TestQuestions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arch, c, o := genArch(t), genCaps(t, "caps"), genOptions(t)
		prog := must(t, arch, c, o)
		ask := func(op int, args ...uint64) bool {
			return answer(t, arch, prog, "", [6]uint64(append(append([]uint64{uint64(op)}, args...), make([]uint64, 5-len(args))...))) != 0
		}
		words, all := c.Rights.Words(), rights.All().Words()
		for word := range words {
			for bit := range RightBits {
				has, exists := words[word]&(1<<bit) != 0, all[word]&(1<<bit) != 0
				if exists && ask(OpHas, testFD, uint64(Index(word, bit))) == has {
					t.Fatalf("bit %d of word %d: has it %v", bit, word, has)
				}
				if ask(OpHas, other, uint64(Index(word, bit))) {
					t.Fatal("answers for another descriptor")
				}
			}
		}
		for _, cmd := range maskCommands(rights.FcntlAll) {
			if ask(OpHasFcntl, testFD, cmd) == c.AllowsFcntl(int(cmd)) {
				t.Fatalf("command %d of mask %#x", cmd, c.Fcntls)
			}
		}
		for _, cmd := range controls {
			if ask(OpHasIoctl, testFD, uint64(cmd)) == c.AllowsIoctl(cmd) {
				t.Fatalf("command %#x of %v %#x", cmd, c.Listed, c.Ioctls)
			}
		}
		if ask(OpHas, testFD, IndexAnyIoctl) != c.Listed || ask(OpHas, testFD, IndexNoIoctl) != (c.Listed && len(c.Ioctls) == 0) ||
			ask(OpHas, testFD, IndexReadOnly) == o.ReadOnly {
			t.Fatal("answers wrongly about the list or the file")
		}
		polls := o.Static && o.Poll && !c.Rights.IsSet(rights.Event)
		if ask(OpStatic) != (o.Static && o.First) || ask(OpPoll) != polls || ask(OpMode) {
			t.Fatal("answers wrongly about itself")
		}
	})
}

// TestUntouched: calls that a filter has nothing to say about are decided without
// a look at registers, so that the kernel does not run it for them.
func TestUntouched(t *testing.T) {
	prog := descriptor(t, sysno.AMD64, capsWith(t, rights.Of(rights.Read, rights.Write, rights.Event)), Options{Static: true})
	for _, name := range strings.Fields("read write readv writev recvfrom futex getpid nanosleep close clock_gettime munmap madvise rt_sigreturn") {
		nr, _ := sysno.Nr(sysno.AMD64, name)
		r := cbpf.Run(prog, cbpf.Data{Nr: uint32(nr), Arch: uint32(sysno.AMD64)})
		if !r.Const || r.Value != unix.SECCOMP_RET_ALLOW {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for _, name := range strings.Fields("pread64 mmap fstat") {
		nr, _ := sysno.Nr(sysno.AMD64, name)
		r := cbpf.Run(prog, cbpf.Data{Nr: uint32(nr), Arch: uint32(sysno.AMD64), Args: [6]uint64{other}})
		if r.Value != unix.SECCOMP_RET_ALLOW || r.Steps > 20 {
			t.Errorf("%s of another descriptor: %+v", name, r)
		}
	}
}

// TestSmall bounds the part of the kernel's 32768 instructions that a limit takes.
func TestSmall(t *testing.T) {
	for _, arch := range sysno.Arches() {
		for _, r := range [][]rights.Right{{}, {rights.Read}, {rights.Pread, rights.Fstat}, {rights.SockClient, rights.Event}} {
			if n := len(descriptor(t, arch, capsWith(t, rights.Of(r...)), Options{})); n > 155 {
				t.Errorf("%s %v: %d instructions", arch, r, n)
			}
		}
	}
}

func TestBadNumbers(t *testing.T) {
	for _, fd := range []int{-1, -100, maxFD + 1} {
		if _, err := Descriptor(sysno.AMD64, fd, filecaps.Full(), Options{}); err == nil {
			t.Errorf("descriptor %d has a filter", fd)
		}
	}
	if _, err := Descriptor(sysno.I386, 1, filecaps.Full(), Options{}); err == nil {
		t.Error("an architecture without a table has a filter")
	}
}

// TestForeign: other architectures' calls, and x32's, would mean other calls.
func TestForeign(t *testing.T) {
	for _, arch := range sysno.Arches() {
		mode, err := CapabilityMode(arch)
		if err != nil {
			t.Fatal(err)
		}
		static, err := StaticMode(arch, 77)
		if err != nil {
			t.Fatal(err)
		}
		first := descriptor(t, arch, capsWith(t, rights.Of(rights.Read)), Options{Static: true, First: true, Poll: true})
		for _, d := range []cbpf.Data{
			{Nr: 3, Arch: uint32(sysno.I386)}, {Nr: 3, Arch: uint32(sysno.ARM)}, {Nr: 0, Arch: uint32(arch) ^ 1},
			{Nr: sysno.X32Bit, Arch: uint32(arch)}, {Nr: sysno.X32Bit + 1, Arch: uint32(arch)}, {Nr: 0xffffffff, Arch: uint32(arch)},
		} {
			for i, prog := range [][]cbpf.Instruction{mode, static, first} {
				want := []unix.Errno{filecaps.ECAPMODE, filecaps.ECAPMODE, filecaps.ENOTCAPABLE}[i]
				if got := value(t, cbpf.Run(prog, d)); got != want {
					t.Errorf("%s, filter %d, %+v: %v, want %v", arch, i, d, got, want)
				}
			}
		}
		for _, nr := range []uint32{5000, request.Number - 1, request.Number + 1} {
			for i, prog := range [][]cbpf.Instruction{mode, static, first} {
				want := []unix.Errno{filecaps.ECAPMODE, filecaps.ECAPMODE, unix.ENOSYS}[i]
				if got := value(t, cbpf.Run(prog, cbpf.Data{Nr: nr, Arch: uint32(arch)})); got != want {
					t.Errorf("%s, filter %d, number %d: %v, want %v", arch, i, nr, got, want)
				}
			}
		}
	}
}

// TestOnly: a filter for some calls refuses those as the whole one does, and no
// others.
func TestOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arch, c, o := genArch(t), genCaps(t, "caps"), genOptions(t)
		o.Static, o.First = false, false
		inMode := o.CapabilityMode
		o.CapabilityMode = false
		whole := must(t, arch, c, o)
		o.CapabilityMode = inMode
		o.Only = rapid.SliceOf(rapid.SampledFrom(Calls())).Draw(t, "only")
		if o.Only == nil {
			o.Only = []string{}
		}
		some := must(t, arch, c, o)
		mode, err := CapabilityMode(arch)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			name, args := nameOf(t, arch), genArgs(t)
			want := unix.Errno(0)
			if slices.Contains(o.Only, name) {
				want = answer(t, arch, whole, name, args)
			}
			got := answer(t, arch, some, name, args)
			// What the mode refuses is refused as there, though no filter of it need be there.
			if refused := answer(t, arch, mode, name, args); inMode && refused != 0 && (want != 0 || got == refused) {
				want = refused
			}
			if got != want {
				t.Fatalf("%s%x: %d, want %d", name, args, got, want)
			}
		}
	})
}

// TestTemplate: a template's filters say the same as those that are compiled for each
// number. A number that a test has for another reason may make those shorter.
func TestTemplate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, o := genCaps(t, "caps"), genOptions(t)
		o.Had = nil
		arch := rapid.SampledFrom(sysno.Arches()).Draw(t, "arch")
		template, err := NewTemplate(arch, c, o)
		if err != nil {
			t.Fatal(err)
		}
		fd := rapid.IntRange(0, 300).Draw(t, "fd")
		want, err := Descriptor(arch, fd, c, o)
		if err != nil {
			t.Fatal(err)
		}
		got := template.For(fd)
		for range 50 {
			name, args := nameOf(t, arch), genArgs(t)
			args[rapid.IntRange(0, 4).Draw(t, "which")] = uint64(fd)
			if got, want := answer(t, arch, got, name, args), answer(t, arch, want, name, args); got != want {
				t.Fatalf("descriptor %d: %s%x: %d, want %d", fd, name, args, got, want)
			}
		}
	})
}
