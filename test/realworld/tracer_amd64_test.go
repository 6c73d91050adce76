//go:build realworld

package realworld

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A call is a system call that a process is made to do, as if it were its own: this
// is what an attacker who has taken it over would do.
type call struct {
	number uintptr
	args   []any // integers, and strings, which are put in its memory
}

// blocked waits until a process waits in a system call for what the test gives it.
func blocked(t *testing.T, pid int) {
	t.Helper()
	path := fmt.Sprintf("/proc/%d/syscall", pid)
	deadline, seen := time.Now().Add(20*time.Second), 0
	for time.Now().Before(deadline) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(strings.Fields(string(text))[0])
		if err == nil && slices.Contains(waits, number) {
			if seen++; seen == 5 {
				return
			}
		} else {
			seen = 0
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("process %d waits for nothing", pid)
}

// inject makes a process that is blocked do calls, and returns what the kernel or its
// supervisor said: a value, or an errno with its sign turned. The process goes on as
// if nothing had been.
func inject(t *testing.T, pid int, calls []call) []int64 {
	t.Helper()
	blocked(t, pid)
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	if err := syscall.PtraceAttach(pid); err != nil {
		t.Fatalf("attach to %d: %v", pid, err)
	}
	stop(t, pid, syscall.SIGSTOP)
	defer func() {
		if err := syscall.PtraceDetach(pid); err != nil {
			t.Errorf("detach from %d: %v", pid, err)
		}
	}()
	var regs syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(pid, &regs); err != nil {
		t.Fatal(err)
	}
	at := regs.Rip - 2 // of the call that it is blocked in
	var code [2]byte
	if _, err := syscall.PtracePeekText(pid, uintptr(at), code[:]); err != nil || code != [2]byte{0x0f, 0x05} {
		t.Fatalf("no system call at %#x: % x, %v", at, code, err)
	}
	results := make([]int64, len(calls))
	for i, c := range calls {
		results[i] = one(t, pid, regs, at, c)
	}
	// In the middle of a signal's delivery, so that the kernel repeats what it broke off.
	if err := syscall.PtraceSetRegs(pid, &regs); err != nil {
		t.Fatal(err)
	}
	return results
}

func one(t *testing.T, pid int, regs syscall.PtraceRegs, at uint64, c call) int64 {
	t.Helper()
	const room = 4096 // far below what the stack is used for
	args := make([]uint64, 6)
	for i, arg := range c.args {
		switch arg := arg.(type) {
		case string:
			args[i] = (regs.Rsp - uint64(i+1)*room) &^ 15
			if _, err := syscall.PtracePokeData(pid, uintptr(args[i]), append([]byte(arg), 0)); err != nil {
				t.Fatalf("write to %d: %v", pid, err)
			}
		case int:
			args[i] = uint64(arg)
		}
	}
	regs.Rip, regs.Rax, regs.Orig_rax = at, uint64(c.number), ^uint64(0)
	regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9 = args[0], args[1], args[2], args[3], args[4], args[5]
	if err := syscall.PtraceSetRegs(pid, &regs); err != nil {
		t.Fatal(err)
	}
	if err := syscall.PtraceSingleStep(pid); err != nil {
		t.Fatal(err)
	}
	stop(t, pid, syscall.SIGTRAP)
	if err := syscall.PtraceGetRegs(pid, &regs); err != nil {
		t.Fatal(err)
	}
	if regs.Rip != at+2 {
		t.Fatalf("%d is at %#x, not behind the call at %#x", pid, regs.Rip, at)
	}
	return int64(regs.Rax)
}

func stop(t *testing.T, pid int, want syscall.Signal) {
	t.Helper()
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, syscall.WALL, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || !status.Stopped() || status.StopSignal() != want {
			t.Fatalf("%d did not stop by %v: %#x, %v", pid, want, status, err)
		}
		return
	}
}

// waits are the calls that programs wait for input in.
var waits = []int{syscall.SYS_READ, syscall.SYS_POLL, syscall.SYS_PPOLL, syscall.SYS_EPOLL_PWAIT}
