// Package probe tries the kernel parts that capsicum is made of, for real:
// it makes the call, and where that proves nothing it looks whether the effect
// is there. Whatever can not be undone is tried in a short-lived child.
//
//	report := probe.Run()
//	for _, e := range report.Entries {
//		fmt.Println(e.Name, e.OK, e.Remedy)
//	}
//
// # Limitations
//
// A probe answers for the user, the container and the moment it ran in. Only a
// start of a sandbox decides; launch refuses by itself what does not work.
package probe

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// Need says which engine can not do without a building block.
type Need string

// The needs. Want means that capsicum works without it, with a named loss.
const (
	NeedBoth       Need = "both engines"
	NeedNamespaces Need = "namespaces"
	NeedLandlock   Need = "landlock"
	Want           Need = "optional"
	Fact           Need = "fact" // nothing is missing either way; it explains the rest
)

// Entry is one building block as it was found.
type Entry struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Need    Need   `json:"need"`
	Detail  string `json:"detail,omitempty"`
	Errno   string `json:"errno,omitempty"` // symbolic: "EPERM"
	UsedFor string `json:"used_for"`
	Remedy  string `json:"remedy,omitempty"` // only when it is missing
}

// Report is everything that was found.
type Report struct {
	Kernel  string  `json:"kernel"`
	Arch    string  `json:"arch"`
	UID     int     `json:"uid"`
	Entries []Entry `json:"entries"`
}

// Missing lists the entries that keep an engine from working.
func (r Report) Missing(engine Need) []Entry {
	var out []Entry
	for _, e := range r.Entries {
		if !e.OK && (e.Need == engine || e.Need == NeedBoth) {
			out = append(out, e)
		}
	}
	return out
}

// Entry returns the entry of that name.
func (r Report) Entry(name string) (Entry, bool) {
	for _, e := range r.Entries {
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// Run tries every building block. It starts a few short-lived children and
// takes some tens of milliseconds.
func Run() Report {
	m := readMachine()
	found := gather(m)
	report := Report{Kernel: m.release, Arch: m.arch, UID: os.Getuid()}
	for _, b := range blocks() {
		f, ok := found[b.name]
		if !ok {
			f = finding{Name: b.name, Errno: int(unix.EIO), Detail: "the probe gave no answer"}
		}
		e := Entry{Name: b.name, OK: f.Errno == 0, Need: b.need, Detail: f.Detail, UsedFor: b.usedFor}
		if !e.OK {
			e.Errno = unix.ErrnoName(unix.Errno(f.Errno))
			if b.remedy != nil {
				e.Remedy = b.remedy(m, f)
			}
		}
		report.Entries = append(report.Entries, e)
	}
	return report
}

// finding is what one try brought to light; it travels from child to parent.
type finding struct {
	Name    string
	Errno   int // 0: it works
	Detail  string
	NoChild bool `json:"-"` // not even the child to try it in could be started
}

func found(name string, err error, detail string) finding {
	f := finding{Name: name, Detail: detail}
	if err == nil {
		return f
	}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		errno = unix.EIO
	}
	f.Errno = int(errno)
	if f.Detail == "" {
		f.Detail = err.Error()
	}
	return f
}

// machine is what explains a failure.
type machine struct {
	release, arch string
	root          bool
	self          string // this executable, for an AppArmor profile
	sysctl        map[string]string
	seccomp       bool // somebody's filter is on this process already
}

// sysctls that are known to switch a building block off.
var sysctls = []string{
	"user/max_user_namespaces", "user/max_mnt_namespaces", "user/max_pid_namespaces",
	"user/max_net_namespaces", "user/max_ipc_namespaces", "user/max_uts_namespaces",
	"kernel/unprivileged_userns_clone", "kernel/apparmor_restrict_unprivileged_userns",
	"kernel/yama/ptrace_scope",
}

func readMachine() machine {
	m := machine{root: os.Geteuid() == 0, sysctl: map[string]string{}}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.release = unix.ByteSliceToString(u.Release[:])
		m.arch = unix.ByteSliceToString(u.Machine[:])
	}
	m.self, _ = os.Executable()
	for _, name := range sysctls {
		if b, err := os.ReadFile("/proc/sys/" + name); err == nil {
			m.sysctl[name] = strings.TrimSpace(string(b))
		}
	}
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		m.seccomp = strings.Contains(string(b), "\nSeccomp:\t2")
	}
	return m
}

// LandlockABI returns the kernel's Landlock ABI; ENOSYS when it was built
// without, EOPNOTSUPP when it was switched off at boot.
func LandlockABI() (int, error) { return sys.LandlockABI() }

// Notify says what the kernel's seccomp user notification can do, as far as
// that can be asked without installing a filter.
type Notify struct {
	Listener     bool // SECCOMP_FILTER_FLAG_NEW_LISTENER
	WaitKillable bool // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
}

// NotifyFlags asks for them. It changes nothing and costs two system calls.
func NotifyFlags() Notify {
	const listen = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	return Notify{
		Listener:     sys.SeccompKnows(listen),
		WaitKillable: sys.SeccompKnows(listen | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV),
	}
}
