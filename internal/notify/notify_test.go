package notify_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/notify/notifytest"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(notifytest.Main(m, scenarios)) }

// The call that asks in these tests is fchmodat with made-up arguments: the Go
// runtime does not make it by itself.
var asks = []uint32{unix.SYS_FCHMODAT}

func ask(args ...uintptr) (int, unix.Errno) {
	var a [6]uintptr
	copy(a[:], args)
	n, _, e := unix.Syscall6(unix.SYS_FCHMODAT, a[0], a[1], a[2], a[3], a[4], a[5])
	return int(n), e
}

var scenarios = map[string]notifytest.Scenario{
	"answers":    answers,
	"descriptor": descriptors,
	"memory":     memory,
	"wait":       func([]string) int { ask(1); return 0 },
	"many":       many,
	"nothing":    func([]string) int { return 0 },
}

func TestAsOrdinaryUser(t *testing.T) { notifytest.AsUser(t, 1500, ".") }

func TestLayout(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"seccomp_notif", unsafe.Sizeof(sys.SeccompNotif{}), 80},
		{"seccomp_notif_resp", unsafe.Sizeof(sys.SeccompNotifResp{}), 24},
		{"seccomp_notif_addfd", unsafe.Sizeof(sys.SeccompNotifAddFD{}), 24},
		{"seccomp_data", unsafe.Sizeof(sys.SeccompData{}), 64},
	} {
		if c.got != c.want {
			t.Errorf("struct %s has %d bytes, want %d", c.name, c.got, c.want)
		}
	}
	if err := sys.ProbeNotify(); err != nil {
		t.Error(err)
	}
}

func answers([]string) int {
	if n, e := ask(1, 2, 3, 4, 5, 6); n != 42 || e != 0 {
		fmt.Printf("value: %d %v\n", n, e)
		return 1
	}
	if _, e := ask(2); e != unix.EXDEV {
		fmt.Printf("errno: %v\n", e)
		return 1
	}
	// Continued, the kernel itself says that the descriptor is not open.
	name := []byte("x\x00")
	if _, e := ask(^uintptr(0)-5, uintptr(unsafe.Pointer(&name[0]))); e != unix.EBADF {
		fmt.Printf("continued: %v\n", e)
		return 1
	}
	if _, e := ask(^uintptr(0)-5, uintptr(unsafe.Pointer(&name[0]))); e != unix.EPERM {
		fmt.Printf("continued without a reason: %v\n", e)
		return 1
	}
	return 0
}

func TestAnswers(t *testing.T) {
	v := notifytest.Start(t, notifytest.Victim{Scenario: "answers", Calls: asks})
	next := func() notify.Notification {
		n, err := v.Listener.Receive()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := next()
	if n.Data.NR != unix.SYS_FCHMODAT || n.Data.Args != [6]uint64{1, 2, 3, 4, 5, 6} {
		t.Errorf("received %+v", n)
	}
	if !v.Listener.Valid(n.ID) {
		t.Error("a waiting caller is not valid")
	}
	must(t, v.Listener.Respond(n.ID, 42, 0))
	if v.Listener.Valid(n.ID) {
		t.Error("an answered caller is valid")
	}
	if err := v.Listener.Respond(n.ID, 43, 0); !errors.Is(err, notify.ErrGone) {
		t.Errorf("second answer: %v", err)
	}
	must(t, v.Listener.Respond(next().ID, 1, unix.EXDEV))
	must(t, v.Listener.Continue(next().ID, "the kernel decides"))
	must(t, v.Listener.Continue(next().ID, ""))
	if code := v.Wait(t); code != 0 {
		t.Errorf("victim ended with %d", code)
	}
	if _, err := v.Listener.Receive(); err != io.EOF {
		t.Errorf("after the last process: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// descriptors gets two descriptors, then none any more when its limit is
// reached.
func descriptors([]string) int {
	n, e := ask(1)
	if e != 0 || !marked(n) || cloexec(n) {
		fmt.Printf("injected: %d %v\n", n, e)
		return 1
	}
	n, e = ask(2)
	if e != 0 || !marked(n) || !cloexec(n) {
		fmt.Printf("injected close-on-exec: %d %v\n", n, e)
		return 1
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 3}); err != nil {
		fmt.Println(err)
		return 1
	}
	if n, e := ask(3); e != unix.EMFILE {
		fmt.Printf("beyond the limit: %d %v\n", n, e)
		return 1
	}
	return 0
}

const mark = "capsicum-notify-test"

func marked(fd int) bool {
	link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	return err == nil && strings.Contains(link, mark)
}

func cloexec(fd int) bool {
	f, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && f&unix.FD_CLOEXEC != 0
}

func TestDescriptors(t *testing.T) {
	file, err := unix.MemfdCreate(mark, unix.MFD_CLOEXEC)
	must(t, err)
	defer unix.Close(file)
	v := notifytest.Start(t, notifytest.Victim{Scenario: "descriptor", Calls: asks})
	for range 3 {
		n, err := v.Listener.Receive()
		must(t, err)
		switch n.Data.Args[0] {
		case 1:
			_, err = v.Listener.Inject(n.ID, file, false)
			must(t, err)
		case 2:
			_, err = v.Listener.Inject(n.ID, file, true)
			must(t, err)
		case 3:
			_, err = v.Listener.Inject(n.ID, file, true)
			var e unix.Errno
			if !errors.As(err, &e) || e != unix.EMFILE {
				t.Errorf("beyond the limit: %v", err)
			}
			must(t, v.Listener.Respond(n.ID, 0, e))
		}
	}
	if code := v.Wait(t); code != 0 {
		t.Errorf("victim ended with %d", code)
	}
}

// memory asks about strings around the end of mapped memory.
func memory([]string) int {
	page := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, 3*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	base := uintptr(unsafe.Pointer(&mem[0]))
	for i := range mem {
		mem[i] = 'a'
	}
	if _, _, e := unix.Syscall(unix.SYS_MUNMAP, base+2*uintptr(page), uintptr(page), 0); e != 0 {
		return 1
	}
	end := base + 2*uintptr(page)
	// Without a terminator up to the hole; then one at the very end.
	ask(end - 5)
	mem[2*page-1] = 0
	ask(end - 5)
	ask(end - 300)          // ends in a second copy
	ask(base)               // longer than a name may be
	ask(end - 4096)         // exactly as long as a name may be
	ask(end)                // nothing
	ask(0)                  // null
	ask(^uintptr(0) - 4095) // the kernel's
	runtime.KeepAlive(mem)
	return 0
}

func TestMemory(t *testing.T) {
	v := notifytest.Start(t, notifytest.Victim{Scenario: "memory", Calls: asks})
	proc := openProc(t)
	type want struct {
		length int
		err    error
	}
	wants := []want{
		{0, unix.EFAULT}, {4, nil}, {299, nil}, {0, unix.ENAMETOOLONG}, {4095, nil}, {0, unix.EFAULT}, {0, unix.EFAULT}, {0, unix.EFAULT},
	}
	if os.Getpagesize() != 4096 {
		wants = wants[:3]
	}
	for i, w := range wants {
		n, err := v.Listener.Receive()
		must(t, err)
		m := v.Listener.Mem(&n, proc)
		got, err := m.String(n.Data.Args[0], unix.PathMax)
		if err != w.err || got != strings.Repeat("a", w.length) {
			t.Errorf("string %d: %d bytes, %v; want %d, %v", i, len(got), err, w.length, w.err)
		}
		if w.err == nil {
			buf := make([]byte, w.length+1)
			if err := m.Read(n.Data.Args[0], buf); err != nil || string(buf) != got+"\x00" {
				t.Errorf("read %d: %v", i, err)
			}
			if err := m.Read(n.Data.Args[0], make([]byte, w.length+2)); err != unix.EFAULT && i > 0 {
				t.Errorf("read %d beyond the end: %v", i, err)
			}
			must(t, m.Write(n.Data.Args[0], []byte{'a'}))
			if err := m.Write(n.Data.Args[0]+uint64(w.length)+1, []byte("b")); err != unix.EFAULT {
				t.Errorf("write %d beyond the end: %v", i, err)
			}
		}
		must(t, v.Listener.Respond(n.ID, 0, 0))
		if _, err := m.String(n.Data.Args[0], unix.PathMax); w.err == nil && err != notify.ErrGone {
			t.Errorf("string %d after the answer: %v", i, err)
		}
		if err := m.Write(n.Data.Args[0], []byte("x")); w.err == nil && err != notify.ErrGone {
			t.Errorf("write %d after the answer: %v", i, err)
		}
	}
	v.Listener.Shutdown()
}

func openProc(t *testing.T) *sys.FD {
	t.Helper()
	n, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	fd := sys.NewFD(n)
	t.Cleanup(func() { fd.Close() })
	return fd
}

// A program its own user may execute and not read is not read by us either.
func TestUnreadableMemoryFailsClosed(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything; TestAsOrdinaryUser runs this test as a user")
	}
	exe := filepath.Join(t.TempDir(), "victim")
	must(t, exetest.WriteSelf(exe, 0o111))
	v := notifytest.Start(t, notifytest.Victim{Scenario: "memory", Calls: asks, Exe: exe})
	n, err := v.Listener.Receive()
	must(t, err)
	m := v.Listener.Mem(&n, openProc(t))
	if _, err := m.String(n.Data.Args[0], 10); !errors.Is(err, unix.EACCES) {
		t.Errorf("string: %v, want EACCES", err)
	}
	if err := m.Read(n.Data.Args[0], make([]byte, 4)); !errors.Is(err, unix.EACCES) {
		t.Errorf("read: %v, want EACCES", err)
	}
	if err := m.Write(n.Data.Args[0], make([]byte, 4)); !errors.Is(err, unix.EACCES) {
		t.Errorf("write: %v, want EACCES", err)
	}
}

func TestCallerKilledAfterReceive(t *testing.T) {
	v := notifytest.Start(t, notifytest.Victim{Scenario: "wait", Calls: asks})
	n, err := v.Listener.Receive()
	must(t, err)
	must(t, v.Cmd.Process.Kill())
	if code := v.Wait(t); code != 128+int(unix.SIGKILL) {
		t.Fatalf("victim ended with %d", code)
	}
	if v.Listener.Valid(n.ID) {
		t.Error("a dead caller is valid")
	}
	before := openDescriptors(t)
	if _, err := v.Listener.Inject(n.ID, 0, true); !errors.Is(err, notify.ErrGone) {
		t.Errorf("descriptor for a dead caller: %v", err)
	}
	if err := v.Listener.Respond(n.ID, 0, 0); !errors.Is(err, notify.ErrGone) {
		t.Errorf("answer for a dead caller: %v", err)
	}
	if _, err := v.Listener.Mem(&n, openProc(t)).String(0, 10); err == nil {
		t.Error("read a dead caller")
	}
	if after := openDescriptors(t); after > before+1 {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(list)
}

func TestShutdownWakesEveryReceiver(t *testing.T) {
	v := notifytest.Start(t, notifytest.Victim{Scenario: "wait", Calls: asks})
	n, err := v.Listener.Receive()
	must(t, err)
	const receivers = 5
	done := make(chan error, receivers)
	for range receivers {
		go func() {
			_, err := v.Listener.Receive()
			done <- err
		}()
	}
	time.Sleep(20 * time.Millisecond)
	v.Listener.Shutdown()
	for range receivers {
		select {
		case err := <-done:
			if err != io.EOF {
				t.Errorf("after shutdown: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("a receiver hangs")
		}
	}
	must(t, v.Listener.Respond(n.ID, 0, 0)) // received before, still answered
	if code := v.Wait(t); code != 0 {
		t.Errorf("victim ended with %d", code)
	}
}

// many opens through the supervisor and checks what it got.
func many(args []string) int {
	count, err := strconv.Atoi(args[0])
	if err != nil {
		return 2
	}
	wrong := 0
	for range count {
		n, e := ask(1)
		if e != 0 || n < 3 || unix.Close(n) != nil {
			wrong++
		}
	}
	return min(wrong, 100)
}

// A signal in the middle of an injection makes the kernel answer 0 without a
// descriptor: the program would go on with its standard input.
func TestSignalsDoNotDisturbInjection(t *testing.T) {
	for _, killable := range []bool{true, false} {
		t.Run(fmt.Sprintf("killable=%v", killable), func(t *testing.T) {
			if killable && !sys.HasWaitKillable() {
				t.Skip("no SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV before Linux 5.19")
			}
			var stop atomic.Bool
			defer stop.Store(true)
			injectMany(t, killable, func(tid int) {
				go func() {
					for !stop.Load() {
						_ = unix.Tgkill(unix.Getpid(), tid, unix.SIGURG)
						_ = unix.Tgkill(unix.Getpid(), tid, syscall.SIGIO)
						time.Sleep(10 * time.Microsecond) // an emulated processor would do nothing else
					}
				}()
			})
		})
	}
}

// A stop cannot be blocked, so it is what only the two steps survive.
func TestStopsDoNotDisturbInjection(t *testing.T) {
	if !sys.HasWaitKillable() {
		t.Skip("no SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV before Linux 5.19")
	}
	injectMany(t, true, func(int) {
		// It ends by itself: killed, it could leave this process stopped.
		stopper := exec.Command("sh", "-c", "i=0; while [ $i -lt 3000 ]; do kill -STOP $PPID; kill -CONT $PPID; i=$((i+1)); done")
		must(t, stopper.Start())
		t.Cleanup(func() { must(t, stopper.Wait()) })
	})
}

// injectMany answers a victim's calls with descriptors while disturb disturbs
// the thread that does it.
func injectMany(t *testing.T, killable bool, disturb func(tid int)) {
	count := 10000
	if testing.Short() {
		count = 1000
	}
	v := notifytest.Start(t, notifytest.Victim{Scenario: "many", Args: []string{strconv.Itoa(count)}, Calls: asks})
	v.Listener.SetKillable(killable)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	file, err := unix.MemfdCreate(mark, unix.MFD_CLOEXEC)
	must(t, err)
	defer unix.Close(file)
	disturb(unix.Gettid())
	// Meanwhile: before Linux 6.11 a filter lives until its last process is waited for.
	end := make(chan error, 1)
	go func() { end <- v.Cmd.Wait() }()
	for {
		n, err := v.Listener.Receive()
		if err == io.EOF {
			break
		}
		must(t, err)
		if _, err := v.Listener.Inject(n.ID, file, false); err != nil {
			t.Error(err)
		}
	}
	if err := <-end; err != nil {
		t.Errorf("%d wrong answers, %v", v.Cmd.ProcessState.ExitCode(), err)
	}
}
