package syscalls

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"golang.org/x/sys/unix"
)

// victimEnv makes the test binary a victim: a process that takes the filter
// onto one thread and then makes every call for real.
const victimEnv = "CAPSICUM_SYSCALLS_VICTIM"

// asked is what the victim sees of a call that would ask: an errno no kernel
// returns.
const asked unix.Errno = 400

// order tells a victim what to do.
type order struct {
	Options  Options
	Filtered bool
}

// answer is what became of one call.
type answer struct {
	Name   string
	Threat int // index into threats, or -1
	Errno  unix.Errno
}

func TestMain(m *testing.M) {
	job := os.Getenv(victimEnv)
	if job == "" {
		os.Exit(m.Run())
	}
	if err := victim(job); err != nil {
		fmt.Fprintln(os.Stderr, "victim:", err)
		os.Exit(1)
	}
}

// unmade are calls that no argument makes harmless when they pass.
var unmade = []string{
	"exit", "exit_group", "fork", "vfork", "rt_sigreturn", "pause", // end, double or stop the victim
	"msgget",              // would leave a queue behind
	"sync",                // waits for every disk of the machine
	"uretprobe", "uprobe", // answered with a signal
}

// harmless returns harmless arguments: descriptors that are not open,
// addresses that are not mapped, identifiers nobody has.
func harmless(name string) [6]uintptr {
	const bad = ^uintptr(0)
	switch name {
	case "kill", "tkill":
		return [6]uintptr{1 << 30, 0}
	case "tgkill", "pidfd_open":
		return [6]uintptr{1 << 30, 1 << 30}
	}
	return [6]uintptr{bad, bad, bad, bad, bad, bad}
}

func victim(job string) error {
	var o order
	if err := json.Unmarshal([]byte(job), &o); err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog, err := Compile(sysno.Native, o.Options)
	if err != nil {
		return err
	}
	// What is told is prepared first: with the filter on, this thread only calls.
	answers := make([]answer, 0, 2048)
	if o.Filtered {
		filter := make([]unix.SockFilter, len(prog))
		for i, in := range prog {
			filter[i] = unix.SockFilter(in)
		}
		if _, err := sys.InstallFilter(filter, false); err != nil {
			return err
		}
	}
	for _, e := range sysno.Table(sysno.Native) {
		args := harmless(e.Name)
		v, _ := Lookup(sysno.Native, uint32(e.Nr), wide(args), o.Options)
		if v == Pass && slices.Contains(unmade, e.Name) || v != Pass && !o.Filtered {
			continue
		}
		answers = append(answers, answer{Name: e.Name, Threat: -1, Errno: call(uintptr(e.Nr), args)})
	}
	for i, c := range threats {
		nr, ok := sysno.Nr(sysno.Native, c.name)
		if v, _ := Lookup(sysno.Native, uint32(nr), c.args, o.Options); !ok || v == Pass || !o.Filtered {
			continue
		}
		var args [6]uintptr
		for j, a := range c.args {
			args[j] = uintptr(a)
		}
		answers = append(answers, answer{c.name, i, call(uintptr(nr), args)})
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 1 {
		return fmt.Errorf("dumpable is %d: %v", dumpable, err)
	}
	done := make(chan error)
	go func() { done <- json.NewEncoder(os.Stdout).Encode(answers) }() // on a thread without the filter
	return <-done
}

func wide(args [6]uintptr) (out [6]uint64) {
	for i, a := range args {
		out[i] = uint64(a)
	}
	return out
}

func call(nr uintptr, a [6]uintptr) unix.Errno {
	_, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return errno
}

// run starts a victim as uid, or as whoever runs the test if uid is 0.
func (o order) run(t *testing.T, uid uint32) []answer {
	t.Helper()
	job, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	// The binary lies in a directory that only its builder may enter.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{victimEnv + "=" + string(job)}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("victim: %v", err)
	}
	var answers []answer
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatal(err)
	}
	return answers
}

// TestVictim makes every call under the real filter. A refused or asked call
// must fail with the errno of the table; one that passes must do exactly what
// it does in a process without the filter.
func TestVictim(t *testing.T) {
	uids := []uint32{0}
	if os.Geteuid() == 0 {
		uids = append(uids, 1500)
	}
	named := map[string]Options{
		"namespaces": nsNew, "namespaces, old kernel": nsFloor, "landlock": llNew, "landlock, old kernel": llFloor,
		"network": withNetwork(nsNew), "everything asks": {Engine: nsNew.Engine, Dgram: true, Lacking: Guardable()},
	}
	for name, o := range named {
		for _, uid := range uids {
			t.Run(fmt.Sprintf("%s/%d", name, uid), func(t *testing.T) {
				o.NoSupervisor = asked
				checkVictim(t, o, order{o, true}.run(t, uid), order{o, false}.run(t, uid))
			})
		}
	}
}

func checkVictim(t *testing.T, o Options, filtered, free []answer) {
	t.Helper()
	control := make(map[string]unix.Errno)
	for _, a := range free {
		control[a.Name] = a.Errno
	}
	passed, refused := 0, 0
	for _, got := range filtered {
		nr, _ := sysno.Nr(sysno.Native, got.Name)
		args := wide(harmless(got.Name))
		if got.Threat >= 0 {
			args = threats[got.Threat].args
		}
		v, _ := Lookup(sysno.Native, uint32(nr), args, o)
		want, isRefusal := v.Refused()
		if isRefusal {
			refused++
		} else {
			passed++
			want = control[got.Name]
		}
		if got.Errno != want {
			t.Errorf("%s%#x gives %q, want %q; the table says %s", got.Name, args, got.Errno, want, v)
		}
	}
	t.Logf("%d passed as without the filter, %d were refused", passed, refused)
	if passed < 150 || refused < 80 {
		t.Errorf("only %d calls passed and %d were refused", passed, refused)
	}
}
