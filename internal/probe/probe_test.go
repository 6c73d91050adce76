package probe

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inReport makes the test binary print a report and end: a probe is tried as
// another user, or under limits, by starting it again so.
const inReport = "CAPSICUM_TEST_PROBE"

func TestMain(m *testing.M) {
	Stage()
	if os.Getenv(inReport) != "" {
		json.NewEncoder(os.Stdout).Encode(Run())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// reportAs runs the report in a child; attr may make it somebody else.
func reportAs(t *testing.T, attr *syscall.SysProcAttr, wrap ...string) Report {
	t.Helper()
	argv := []string{"/proc/self/exe"} // an ordinary user may not see the build directory
	if len(wrap) > 0 {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		argv = append(slices.Clone(wrap), self)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), inReport+"=1")
	cmd.Dir = "/"
	cmd.SysProcAttr = attr
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("report: %v", err)
	}
	var r Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("report: %v\n%s", err, out)
	}
	return r
}

func eachUser(t *testing.T, f func(t *testing.T, attr *syscall.SysProcAttr)) {
	if os.Getuid() != 0 {
		t.Run("user", func(t *testing.T) { f(t, nil) })
		return
	}
	t.Run("root", func(t *testing.T) { f(t, nil) })
	t.Run("user", func(t *testing.T) {
		f(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1500, Gid: 1500}})
	})
}

// TestEveryBlockAnswers holds on every machine: each block has an entry, what
// is missing has an errno, and the facts that need no kernel feature hold.
func TestEveryBlockAnswers(t *testing.T) {
	eachUser(t, func(t *testing.T, attr *syscall.SysProcAttr) {
		r := reportAs(t, attr)
		if len(r.Entries) != len(blocks()) {
			t.Fatalf("%d entries for %d blocks", len(r.Entries), len(blocks()))
		}
		for _, e := range r.Entries {
			if e.OK != (e.Errno == "") {
				t.Errorf("%s: ok %v with errno %q", e.Name, e.OK, e.Errno)
			}
			if strings.Contains(e.Detail, "no answer") {
				t.Errorf("%s: %s", e.Name, e.Detail)
			}
			if e.UsedFor == "" {
				t.Errorf("%s: used for nothing", e.Name)
			}
		}
		if r.Kernel == "" || r.Arch == "" {
			t.Errorf("kernel %q arch %q", r.Kernel, r.Arch)
		}
	})
}

// since tells what a plain kernel of a version must have. A container's filter
// or a sysctl may take it away, and then the report has to say so.
var since = map[string][2]int{
	Filter: {3, 17}, Listener: {5, 0}, PidfdOpen: {5, 3}, Openat2: {5, 6}, MountID: {5, 8},
	AddFD: {5, 9}, AddFDSend: {5, 14}, WaitKillable: {5, 19}, SyncWakeUp: {6, 6}, ReadMemory: {3, 2},
	ChildFD: {3, 2},
}

func TestAgreesWithKernelVersion(t *testing.T) {
	eachUser(t, func(t *testing.T, attr *syscall.SysProcAttr) {
		r := reportAs(t, attr)
		if e, _ := r.Entry(OuterFilter); !e.OK {
			t.Skip("a filter is in force outside; what it refuses is not known")
		}
		if e, _ := r.Entry(Yama); !e.OK {
			t.Skip("Yama refuses reading a child here")
		}
		for name, v := range since {
			e, ok := r.Entry(name)
			if !ok {
				t.Fatalf("no entry %q", name)
			}
			if want := kernelAtLeast(t, v[0], v[1]); e.OK != want {
				t.Errorf("%s: ok %v (%s) on Linux %s", name, e.OK, e.Detail, r.Kernel)
			}
		}
	})
}

func kernelAtLeast(t *testing.T, major, minor int) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var a, b int
	for i, part := range strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3) {
		n := 0
		for _, c := range part {
			if c < '0' || c > '9' {
				break
			}
			n = n*10 + int(c-'0')
		}
		if i == 0 {
			a = n
		} else if i == 1 {
			b = n
		}
	}
	return a > major || a == major && b >= minor
}

// TestFastAnswersAgree keeps the calls that launch makes in step with what the
// children found.
func TestFastAnswersAgree(t *testing.T) {
	r := reportAs(t, nil)
	flags := NotifyFlags()
	if e, _ := r.Entry(Listener); flags.Listener != e.OK {
		t.Errorf("Listener %v, tried %v", flags.Listener, e.OK)
	}
	if e, _ := r.Entry(WaitKillable); flags.WaitKillable != e.OK {
		t.Errorf("WaitKillable %v, tried %v", flags.WaitKillable, e.OK)
	}
	_, err := LandlockABI()
	if e, _ := r.Entry(Landlock); (err == nil) != e.OK {
		t.Errorf("LandlockABI: %v, tried %v", err, e.OK)
	}
}

// TestNoUserNamespaces switches them off with rlimits of the kind a namespace
// of its own can set, and expects the sysctl to be named.
func TestNoUserNamespaces(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to set a limit in a user namespace of its own")
	}
	// A new user namespace has its own limit on what is made beneath it.
	r := reportAs(t, &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	}, "/bin/sh", "-c", `echo 0 > /proc/sys/user/max_user_namespaces && exec "$0"`)
	e, _ := r.Entry(Userns)
	if e.OK || e.Errno != "ENOSPC" {
		t.Fatalf("user namespaces: ok %v, errno %q", e.OK, e.Errno)
	}
	if !strings.Contains(e.Remedy, "user.max_user_namespaces") {
		t.Errorf("remedy %q does not name the sysctl", e.Remedy)
	}
	if len(r.Missing(NeedNamespaces)) == 0 {
		t.Error("the namespaces engine misses nothing")
	}
	if e, _ := r.Entry(Listener); !e.OK {
		t.Errorf("user notification went away too: %s", e.Detail)
	}
}

func TestRemedies(t *testing.T) {
	user := machine{release: "6.8.0", self: "/usr/bin/capsicum", sysctl: map[string]string{
		"kernel/apparmor_restrict_unprivileged_userns": "1"}}
	docker := machine{release: "6.8.0", seccomp: true, sysctl: map[string]string{}}
	debian := machine{release: "5.10.0", sysctl: map[string]string{"kernel/unprivileged_userns_clone": "0"}}
	yama := machine{sysctl: map[string]string{"kernel/yama/ptrace_scope": "2"}}
	for _, tt := range []struct {
		what   string
		remedy func(machine, finding) string
		m      machine
		errno  unix.Errno
		want   string
	}{
		{"AppArmor", usernsRemedy, user, unix.EACCES, "apparmor_parser"},
		{"AppArmor mount", mountRemedy, user, unix.EPERM, "/usr/bin/capsicum"},
		{"Debian", usernsRemedy, debian, unix.EPERM, "unprivileged_userns_clone=1"},
		{"no CONFIG_USER_NS", usernsRemedy, machine{}, unix.EINVAL, "CONFIG_USER_NS"},
		{"Docker userns", usernsRemedy, docker, unix.EPERM, "seccomp=unconfined"},
		{"Docker getfd", getfdRemedy, docker, unix.EPERM, "SYS_PTRACE"},
		{"old mount API", mountRemedy, debian, unix.ENOSYS, "5.12"},
		{"Landlock at boot", landlockRemedy, user, unix.EOPNOTSUPP, "lsm="},
		{"Landlock absent", landlockRemedy, debian, unix.ENOSYS, "CONFIG_SECURITY_LANDLOCK"},
		{"busy listener", listenerRemedy, user, unix.EBUSY, "another supervisor"},
		{"Yama 2", memoryRemedy, yama, unix.EPERM, "ptrace_scope=1"},
		{"old notify", kernelRemedy("5.19", ""), debian, unix.EINVAL, "5.19"},
		{"unknown refusal", usernsRemedy, machine{root: true}, unix.EPERM, "--engine=landlock"},
	} {
		if got := tt.remedy(tt.m, finding{Errno: int(tt.errno)}); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q does not contain %q", tt.what, got, tt.want)
		}
	}
}
