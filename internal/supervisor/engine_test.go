package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum/internal/notify"
	"github.com/capsicum-go/capsicum/internal/notify/notifytest"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(notifytest.Main(m, victims)) }

var victims = map[string]notifytest.Scenario{
	"calls":     victimCalls,
	"crowd":     victimCrowd,
	"stall":     victimStall,
	"block":     func([]string) int { probeCall(1); return 0 },
	"interrupt": victimInterrupt,
	"linger":    victimLinger,
	"exec":      victimExec,
	"execed":    victimExeced,
	"unmap":     victimUnmap,
	"ops":       victimOps,
	"flip":      victimFlip,
	"refused": func([]string) int {
		if _, e := probeCall(1); e != unix.EPERM {
			return 1
		}
		return 0
	},
}

// probe is the call these tests give handlers of their own: the Go runtime does
// not make it by itself.
const probe = "fchmodat"

func probeCall(args ...uintptr) (int, unix.Errno) {
	var a [6]uintptr
	copy(a[:], args)
	n, _, e := unix.Syscall6(unix.SYS_FCHMODAT, a[0], a[1], a[2], a[3], a[4], a[5])
	return int(n), e
}

// supervised is a victim with a supervisor in this process.
type supervised struct {
	*notifytest.Process
	s    *Supervisor
	done chan error
	logs *lockedLog
}

type lockedLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *lockedLog) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *lockedLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// superviseProbe starts a scenario whose probe calls go to handler.
func superviseProbe(t *testing.T, handler Handler, workers int, scenario string, args ...string) *supervised {
	t.Helper()
	logs := new(lockedLog)
	s, err := New(Config{
		Plan: new(plan.Plan), Options: Options{Engine: policy.EngineNamespaces}, MaxWorkers: workers, Logf: logs.add,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.handlers[probe] = handler
	return superviseWith(t, s, logs, notifytest.Victim{Scenario: scenario, Args: args, Calls: []uint32{unix.SYS_FCHMODAT}})
}

func superviseWith(t *testing.T, s *Supervisor, logs *lockedLog, v notifytest.Victim) *supervised {
	t.Helper()
	sv := &supervised{s: s, done: make(chan error, 1), logs: logs, Process: notifytest.Start(t, v)}
	go func() { sv.done <- s.Serve(sv.Listener) }()
	t.Cleanup(func() {
		_ = sv.Cmd.Process.Kill() // already dead is fine
		select {
		case err := <-sv.done:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("the supervisor does not end")
		}
	})
	return sv
}

// finish waits for the victim, which must have found nothing wrong.
func (sv *supervised) finish(t *testing.T) {
	t.Helper()
	if code := sv.Wait(t); code != 0 {
		t.Errorf("victim ended with %d; log:\n%s", code, sv.logs.text())
	}
}

// The engine's own tests; the others start victims as ordinary users themselves.
const engineTests = "^Test(ManyCalls|Panic|BlockedCalls|Dead|Signals|TenThousand|Idle|Exec.*Asks|MemoryUnmapped|Namespaces|Own)"

func TestEngineAsOrdinaryUser(t *testing.T) { notifytest.AsUser(t, 1500, engineTests) }

func countDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// rss is this process's resident memory in kilobytes.
func rss(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize() / 1024
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within a minute", what)
}

func (p *pool) size() (workers, receivers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers, p.receivers
}

// victimCalls makes calls from several goroutines while the garbage collector
// stops the world all the time, and checks every answer.
func victimCalls(args []string) int {
	count, _ := strconv.Atoi(args[0])
	var wrong atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	const callers = 4
	for g := range callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range count / callers {
				want := g*count + i
				if n, e := probeCall(uintptr(want)); e != 0 || n != want+1 {
					wrong.Add(1)
				}
			}
		}()
	}
	wg.Wait()
	close(stop)
	if n := wrong.Load(); n != 0 {
		fmt.Println(n, "wrong answers")
		return 1
	}
	return 0
}

func addOne(c *Call) Result { return Value(int64(c.Arg(0)) + 1) }

func TestManyCallsFromAGoProgram(t *testing.T) {
	count := 100_000
	if testing.Short() {
		count = 10_000
	}
	fds, mem := countDescriptors(t), rss(t)
	sv := superviseProbe(t, func(c *Call) Result {
		if _, err := c.freshStatus(); err != nil { // a descriptor and some memory for each call
			return Fail(err)
		}
		return addOne(c)
	}, 0, "calls", strconv.Itoa(count))
	sv.finish(t)
	if now := countDescriptors(t); now > fds+10 {
		t.Errorf("%d descriptors, %d before", now, fds)
	}
	if now := rss(t); now > mem+32<<10 {
		t.Errorf("%d kB resident, %d before", now, mem)
	}
}

func TestPanicIsAnErrno(t *testing.T) {
	var calls atomic.Int64
	sv := superviseProbe(t, func(c *Call) Result {
		if calls.Add(1)%2 == 1 {
			panic("handler test")
		}
		return Errno(unix.EIO)
	}, 0, "stall", "eio")
	sv.finish(t)
	if !strings.Contains(sv.logs.text(), "handler test") {
		t.Errorf("log does not tell:\n%s", sv.logs.text())
	}
}

// TestOnlyTheTableContinues: a handler that lets a call go for which the table states
// no reason has made a mistake.
func TestOnlyTheTableContinues(t *testing.T) {
	logs := new(lockedLog)
	s, err := New(Config{Plan: new(plan.Plan), Logf: logs.add,
		Options: Options{Engine: policy.EngineNamespaces, Lacking: rights.Of(rights.Fchmodat)}})
	if err != nil {
		t.Fatal(err)
	}
	s.handlers[probe] = func(*Call) Result { return Continue("it looked harmless") }
	sv := superviseWith(t, s, logs, notifytest.Victim{Scenario: "refused", Calls: []uint32{unix.SYS_FCHMODAT}})
	sv.finish(t)
	if !strings.Contains(logs.text(), "may not be continued") {
		t.Errorf("log does not tell:\n%s", logs.text())
	}
}

// victimStall blocks one thread in a call, then measures how long others take.
func victimStall(args []string) int {
	if args[0] == "eio" {
		for range 10 {
			if _, e := probeCall(0); e != unix.EIO {
				fmt.Println("answer:", e)
				return 1
			}
		}
		return 0
	}
	blocked, _ := strconv.Atoi(args[0])
	for range blocked {
		go probeCall(1)
	}
	time.Sleep(100 * time.Millisecond)
	var slow []time.Duration
	for range 300 {
		start := time.Now()
		if n, e := probeCall(2); e != 0 || n != 3 {
			fmt.Println("answer:", n, e)
			return 1
		}
		slow = append(slow, time.Since(start))
	}
	slices.Sort(slow)
	fmt.Printf("%d blocked: median %v, 99%% %v, longest %v\n", blocked, slow[150], slow[297], slow[299])
	if slow[150] > 10*time.Millisecond {
		return 2
	}
	return 0
}

func TestBlockedCallsDelayNobody(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() error {
		fd, err := unix.Open(fifo, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	}
	ways := map[string]func(*Call) error{
		"said":   func(c *Call) error { c.Yield(); return c.Blocking(open) },
		"unsaid": func(c *Call) error { return c.Blocking(open) },
		"unnoticed": func(*Call) error { // a dead network file system: nothing interrupts it
			return unix.Nanosleep(&unix.Timespec{Sec: 3}, nil)
		},
	}
	for name, block := range ways {
		t.Run(name, func(t *testing.T) {
			sv := superviseProbe(t, func(c *Call) Result {
				if c.Arg(0) == 1 {
					return Fail(block(c))
				}
				return addOne(c)
			}, 0, "stall", "20")
			sv.finish(t)
		})
	}
}

func TestDeadCallersFreeTheirWorkers(t *testing.T) {
	fds := countDescriptors(t)
	in := make(chan struct{}, 1)
	result := make(chan error, 1)
	sv := superviseProbe(t, func(c *Call) Result {
		in <- struct{}{}
		err := c.Blocking(func() error { return unix.Nanosleep(&unix.Timespec{Sec: 60}, nil) })
		result <- err
		return Fail(err)
	}, 0, "block")
	<-in
	killed := time.Now()
	if err := sv.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-result:
		if !errors.Is(err, notify.ErrGone) {
			t.Errorf("blocked call ended with %v", err)
		}
		t.Logf("noticed after %v", time.Since(killed))
	case <-time.After(time.Minute):
		t.Fatal("the worker of a dead caller still blocks")
	}
	sv.Wait(t)
	eventually(t, "workers end", func() bool { w, _ := sv.s.pool.size(); return w == 0 })
	if now := countDescriptors(t); now > fds+6 {
		t.Errorf("%d descriptors, %d before", now, fds)
	}
}

// victimInterrupt gets a signal while a call blocks: first one whose handler
// says restart, then one whose handler does not.
func victimInterrupt([]string) int {
	runtime.LockOSThread()
	tid := unix.Gettid()
	// More than once: the first may come before the call.
	during := func(call int, sig syscall.Signal) (int, unix.Errno) {
		every := time.NewTicker(100 * time.Millisecond)
		over := make(chan bool)
		go func() {
			for {
				select {
				case <-every.C:
					_ = unix.Tgkill(os.Getpid(), tid, sig)
				case <-over:
					return
				}
			}
		}()
		defer every.Stop()
		defer func() { over <- true }()
		return probeCall(uintptr(call))
	}
	// The Go runtime's handler, with SA_RESTART.
	if n, e := during(1, unix.SIGURG); n != 7 || e != 0 {
		fmt.Println("restarted call:", n, e)
		return 1
	}
	if err := sys.InstallInterrupt(); err != nil {
		fmt.Println(err)
		return 1
	}
	if n, e := during(2, sys.InterruptSignal); e != unix.EINTR {
		fmt.Println("interrupted call:", n, e)
		return 1
	}
	return 0
}

func TestSignalsReachABlockedCaller(t *testing.T) {
	var first atomic.Int64
	sv := superviseProbe(t, func(c *Call) Result {
		if c.Arg(0) == 1 && first.Add(1) == 2 {
			return Value(7) // asked again
		}
		return Fail(c.Blocking(func() error { return unix.Nanosleep(&unix.Timespec{Sec: 60}, nil) }))
	}, 0, "interrupt")
	sv.finish(t)
	if n := first.Load(); n != 2 {
		t.Errorf("the call was asked %d times, want 2", n)
	}
}

// victimCrowd has very many threads ask at the same time.
func victimCrowd(args []string) int {
	count, _ := strconv.Atoi(args[0])
	debug.SetMaxThreads(count + 100)
	var wrong atomic.Int64
	var wg sync.WaitGroup
	for range count {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if n, e := probeCall(4); n != 5 || e != 0 {
				wrong.Add(1)
			}
		}()
	}
	wg.Wait()
	return int(min(wrong.Load(), 100))
}

func TestTenThousandQueuedCallers(t *testing.T) {
	const workers = 32
	count := 10_000
	if testing.Short() {
		count = 1000
	}
	fds, mem := countDescriptors(t), rss(t)
	release := make(chan struct{})
	var held, most atomic.Int64
	sv := superviseProbe(t, func(c *Call) Result {
		if now := held.Add(1); now > most.Load() {
			most.Store(now)
		}
		defer held.Add(-1)
		<-release
		return addOne(c)
	}, workers, "crowd", strconv.Itoa(count))
	eventually(t, "every worker has a call", func() bool { return held.Load() == workers })
	queued := func() int {
		list, err := os.ReadDir("/proc/" + strconv.Itoa(sv.Cmd.Process.Pid) + "/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	eventually(t, "callers queue up", func() bool { return queued() >= count })
	nowFDs, nowMem := countDescriptors(t), rss(t)
	t.Logf("%d callers: %d descriptors (%d before), %d kB (%d before)", queued(), nowFDs, fds, nowMem, mem)
	if nowFDs > fds+10 {
		t.Errorf("%d descriptors, %d before", nowFDs, fds)
	}
	if nowMem > mem+32<<10 {
		t.Errorf("%d kB resident, %d before", nowMem, mem)
	}
	close(release)
	sv.finish(t)
	if n := most.Load(); n > workers {
		t.Errorf("%d calls held at once, at most %d allowed", n, workers)
	}
}

// victimLinger has some calls at once, and then one that lasts.
func victimLinger([]string) int {
	if code := victimCrowd([]string{"20"}); code != 0 {
		return code
	}
	_, e := probeCall(3)
	return int(e)
}

func TestIdleWorkersEnd(t *testing.T) {
	var held atomic.Int64
	all := make(chan struct{})
	sv := superviseProbe(t, func(c *Call) Result {
		c.Yield()
		if c.Arg(0) == 4 {
			if held.Add(1) == 20 {
				close(all)
			}
			<-all
			return addOne(c)
		}
		if w, _ := c.s.pool.size(); w < 20 {
			return Errno(unix.ECHILD) // they never were that many
		}
		for range 1000 {
			// This one, one that receives, and one that may just come or go.
			if w, _ := c.s.pool.size(); w <= 3 {
				return Value(0)
			}
			time.Sleep(10 * time.Millisecond)
		}
		return Errno(unix.ETIME)
	}, 0, "linger")
	sv.finish(t)
}

// victimExec has one thread in a call while another executes a new program.
func victimExec([]string) int {
	text := []byte("old image\x00")
	go probeCall(1, uintptr(unsafe.Pointer(&text[0])))
	time.Sleep(100 * time.Millisecond)
	env := []string{"CAPSICUM_NOTIFYTEST_SCENARIO=execed"}
	err := syscall.Exec("/proc/self/exe", []string{"victim"}, env)
	fmt.Println(err)
	return 1
}

func victimExeced([]string) int {
	text := []byte("new image\x00")
	if n, e := probeCall(2, uintptr(unsafe.Pointer(&text[0]))); n != len("new image") || e != 0 {
		fmt.Println("after exec:", n, e)
		return 1
	}
	return 0
}

func TestExecWhileAnotherThreadAsks(t *testing.T) {
	gone := make(chan error, 1)
	sv := superviseProbe(t, func(c *Call) Result {
		if c.Arg(0) == 1 {
			err := c.Blocking(func() error { return unix.Nanosleep(&unix.Timespec{Sec: 60}, nil) })
			// A thread that is dying may still have its old memory, never the new one.
			if text, serr := c.String(c.Arg(1), 100); !errors.Is(serr, notify.ErrGone) && serr != unix.EFAULT && (serr != nil || text != "old image") {
				gone <- fmt.Errorf("a caller that is gone reads %q, %v", text, serr)
				return Errno(unix.EIO)
			}
			gone <- err
			return Fail(err)
		}
		text, err := c.String(c.Arg(1), 100)
		if err != nil || text != "new image" {
			return Fail(errors.Join(unix.EILSEQ, err))
		}
		return Value(int64(len(text)))
	}, 0, "exec")
	sv.finish(t)
	if err := <-gone; !errors.Is(err, notify.ErrGone) {
		t.Errorf("the thread that exec ended: %v", err)
	}
}

// victimUnmap passes a name that another thread maps and unmaps.
func victimUnmap(args []string) int {
	count, _ := strconv.Atoi(args[0])
	page := uintptr(os.Getpagesize())
	area, _, e := unix.Syscall6(unix.SYS_MMAP, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0), 0)
	if e != 0 {
		return 1
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for !stop.Load() {
			_, _, _ = unix.Syscall6(unix.SYS_MMAP, area, page, unix.PROT_READ|unix.PROT_WRITE,
				unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED|unix.MAP_POPULATE, ^uintptr(0), 0)
			_, _, _ = unix.Syscall(unix.SYS_MUNMAP, area, page, 0)
		}
	}()
	answers := map[unix.Errno]int{}
	for range count {
		_, e := probeCall(1, area)
		answers[e]++
	}
	stop.Store(true)
	wg.Wait()
	fmt.Println("unmapped while asked:", answers)
	for e := range answers {
		if e != unix.EFAULT && e != unix.ENOENT {
			return 1
		}
	}
	if answers[unix.EFAULT] == 0 || answers[unix.ENOENT] == 0 {
		return 2 // the race was not run
	}
	return 0
}

func TestMemoryUnmappedWhileAsked(t *testing.T) {
	sv := superviseProbe(t, func(c *Call) Result {
		name, err := c.Path(1)
		switch {
		case err != nil:
			return Fail(err)
		case name == "":
			return Errno(unix.ENOENT) // the page was there, and empty
		}
		return Value(0)
	}, 0, "unmap", "20000")
	sv.finish(t)
}
