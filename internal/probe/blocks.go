package probe

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// block is one building block: what it is for and what to do when it is
// missing. The order is the order of the report.
type block struct {
	name    string
	need    Need
	usedFor string
	remedy  func(machine, finding) string
}

// Names of the building blocks, as tests and the report spell them.
const (
	Userns       = "user namespaces"
	PrivateMount = "private mounts"
	MountProc    = "proc of its own"
	MountAPI     = "mount clones with attributes"
	Landlock     = "Landlock"
	Filter       = "seccomp filter"
	Listener     = "user notification"
	AddFD        = "descriptor injection"
	AddFDSend    = "injection as the answer"
	WaitKillable = "wait killable"
	SyncWakeUp   = "synchronous wake-up"
	Openat2      = "openat2"
	MountID      = "mount ids"
	ReadMemory   = "reading a child's memory"
	ChildFD      = "opening a child's descriptors"
	PidfdOpen    = "pidfd_open"
	PidfdGetfd   = "pidfd_getfd"
	Clone3       = "clone3"
	Cgroup       = "cgroup v2 delegation"
	Yama         = "Yama ptrace scope"
	AppArmor     = "AppArmor's user namespace rule"
	OuterFilter  = "outer seccomp filter"
)

// blocks lists them. It is a function, because remedies are made and few starts
// of the command look for any.
func blocks() []block {
	return []block{
		{Userns, NeedNamespaces, "the private root, pid, ipc, uts and network namespaces", usernsRemedy},
		{PrivateMount, NeedNamespaces, "a root that holds only what was granted", mountRemedy},
		{MountProc, NeedNamespaces, "/proc showing the sandbox's processes only (--no-proc does without)", procRemedy},
		{MountAPI, NeedNamespaces, "each grant as a mount that is read-only, noexec, nosuid, nodev", mountRemedy},
		{Landlock, NeedBoth, "the floor under files: read, write, execute, create, remove", landlockRemedy},
		{Filter, NeedBoth, "the closed table of system calls", kernelRemedy("3.17", "CONFIG_SECCOMP_FILTER")},
		{Listener, NeedBoth, "calls that the supervisor answers", listenerRemedy},
		{AddFD, NeedBoth, "files that the supervisor opens for a program", kernelRemedy("5.9", "")},
		{AddFDSend, NeedBoth, "injecting a file and answering in one step", kernelRemedy("5.14", "")},
		{WaitKillable, Want, "calls that ask are not begun again by every signal", kernelRemedy("5.19", "")},
		{SyncWakeUp, Want, "a third of the time for each call that asks", kernelRemedy("6.6", "")},
		{Openat2, NeedBoth, "looking names up without leaving a directory", kernelRemedy("5.6", "")},
		{MountID, NeedBoth, "telling from which grant a descriptor came", kernelRemedy("5.8", "")},
		{ReadMemory, NeedBoth, "copying a name or an address from the program, once", memoryRemedy},
		{ChildFD, NeedLandlock, "names relative to a program's directory descriptor", memoryRemedy},
		{PidfdOpen, NeedBoth, "holding a process without its number being used again", kernelRemedy("5.3", "")},
		{PidfdGetfd, Want, "calls that a right guards, on a copy of a program's socket or file", getfdRemedy},
		{Clone3, Want, "nothing of capsicum's own; programs fall back to clone", nil},
		{Cgroup, Fact, "nothing yet: --limit holds for each process, not for all together", nil},
		{Yama, Fact, "who may read a process's memory", yamaRemedy},
		{AppArmor, Fact, "whether ordinary users' namespaces hold capabilities", usernsRemedy},
		{OuterFilter, Fact, "a container's own filter, which may refuse any of the above", outerRemedy},
	}
}

func kernelRemedy(version, config string) func(machine, finding) string {
	return func(m machine, f finding) string {
		if refused(f) && m.seccomp {
			return outerRemedy(m, f)
		}
		if config == "" {
			return fmt.Sprintf("needs Linux %s or newer; this is %s", version, m.release)
		}
		return fmt.Sprintf("needs Linux %s or newer built with %s; this is %s", version, config, m.release)
	}
}

// refused tells a verdict from an absence.
func refused(f finding) bool {
	return f.Errno == int(unix.EPERM) || f.Errno == int(unix.EACCES)
}

func usernsRemedy(m machine, f finding) string {
	for _, name := range sysctls[:6] {
		if m.sysctl[name] == "0" {
			return "sudo sysctl " + strings.ReplaceAll(name, "/", ".") + "=10000"
		}
	}
	switch {
	case m.sysctl["kernel/unprivileged_userns_clone"] == "0" && !m.root:
		return "sudo sysctl kernel.unprivileged_userns_clone=1"
	case appArmorBites(m) && !m.root:
		return appArmorProfile(m.self)
	case f.Errno == int(unix.EINVAL):
		return "needs a kernel built with CONFIG_USER_NS"
	case m.seccomp:
		return outerRemedy(m, f)
	case refused(f):
		return "refused by something outside (a chroot, SELinux, a container runtime); use --engine=landlock"
	}
	return ""
}

func appArmorBites(m machine) bool {
	v := m.sysctl["kernel/apparmor_restrict_unprivileged_userns"]
	return v != "" && v != "0"
}

func appArmorProfile(self string) string {
	if self == "" {
		self = "/usr/local/bin/capsicum"
	}
	return fmt.Sprintf(`printf 'abi <abi/4.0>,\ninclude <tunables/global>\nprofile capsicum %s flags=(unconfined) {\n  userns,\n}\n' `+
		`| sudo tee /etc/apparmor.d/capsicum && sudo apparmor_parser -r /etc/apparmor.d/capsicum`, self)
}

func mountRemedy(m machine, f finding) string {
	if f.Errno == int(unix.ENOSYS) {
		return fmt.Sprintf("needs Linux 5.12 or newer; this is %s", m.release)
	}
	return usernsRemedy(m, f)
}

func procRemedy(m machine, f finding) string {
	if f.Errno == int(unix.EPERM) && !f.NoChild && !appArmorBites(m) {
		return "the container hides parts of /proc; docker run --security-opt systempaths=unconfined, or use --no-proc"
	}
	return usernsRemedy(m, f)
}

func landlockRemedy(m machine, f finding) string {
	switch f.Errno {
	case int(unix.EOPNOTSUPP):
		return "boot with landlock in the lsm= list, e.g. lsm=landlock,$(cat /sys/kernel/security/lsm)"
	case int(unix.ENOSYS):
		return fmt.Sprintf("needs Linux 5.13 or newer built with CONFIG_SECURITY_LANDLOCK; this is %s", m.release)
	}
	return outerRemedy(m, f)
}

func listenerRemedy(m machine, f finding) string {
	if f.Errno == int(unix.EBUSY) {
		return "another supervisor already listens to this process; start capsicum outside of it"
	}
	return kernelRemedy("5.0", "CONFIG_SECCOMP_FILTER")(m, f)
}

func memoryRemedy(m machine, f finding) string {
	if v := m.sysctl["kernel/yama/ptrace_scope"]; v == "2" || v == "3" {
		return "sudo sysctl kernel.yama.ptrace_scope=1 (3 can only be changed by a reboot)"
	}
	return outerRemedy(m, f)
}

func getfdRemedy(m machine, f finding) string {
	if m.seccomp {
		return "a container's filter refuses it; docker run --cap-add SYS_PTRACE"
	}
	return kernelRemedy("5.6", "")(m, f)
}

func yamaRemedy(machine, finding) string {
	return "sudo sysctl kernel.yama.ptrace_scope=1"
}

func outerRemedy(m machine, _ finding) string {
	if !m.seccomp {
		return ""
	}
	return "a container's seccomp profile is in force; docker run --security-opt seccomp=unconfined lifts it"
}
