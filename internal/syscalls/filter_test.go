package syscalls

import (
	"math"
	"slices"
	"testing"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// beyond is where the numbers that the tests go through end.
const beyond = 1024

// interesting returns values for argument arg of row at which some rule may
// change its mind: each compared value, its neighbours, and all of them with
// bits set where the kernel does not look.
func (row *Row) interesting(mode Mode, arg int) []uint64 {
	out := []uint64{0, math.MaxUint64}
	for _, r := range row.In(mode) {
		for _, t := range r.Args {
			if t.Arg != arg {
				continue
			}
			for _, v := range t.Values {
				out = append(out, v, v+1, v-1, v|1<<32, v|1<<63, v|t.Mask, v|^t.Mask, v&^t.Mask, ^v)
			}
			out = append(out, t.Mask, ^t.Mask, t.Mask&-t.Mask)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// cross calls f with every combination of the interesting values of row.
func (row *Row) cross(mode Mode, f func([6]uint64)) {
	var tested []int
	for _, r := range row.In(mode) {
		for _, t := range r.Args {
			if !slices.Contains(tested, t.Arg) {
				tested = append(tested, t.Arg)
			}
		}
	}
	args := [6]uint64{1, 2, 3, 4, 5, 6}
	var each func(i int)
	each = func(i int) {
		if i == len(tested) {
			f(args)
			return
		}
		for _, v := range row.interesting(mode, tested[i]) {
			args[tested[i]] = v
			each(i + 1)
		}
	}
	each(0)
}

func compile(t testing.TB, a sysno.Arch, o Options) []cbpf.Instruction {
	t.Helper()
	prog, err := Compile(a, o)
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	return prog
}

// agree compares the filter with the table for one call.
func agree(t testing.TB, prog []cbpf.Instruction, a sysno.Arch, nr uint32, args [6]uint64, o Options) {
	want, row := Lookup(a, nr, args, o)
	got := cbpf.Run(prog, cbpf.Data{Nr: nr, Arch: uint32(a), IP: 0x1234567890, Args: args})
	if got.Value != uint32(want) {
		name := "no call"
		if row != nil {
			name = row.Name
		}
		t.Fatalf("%s %d (%s) %#x: filter says %s, table %s\n%+v", a, nr, name, args, Verdict(got.Value), want, o)
	}
}

// TestFilterIsTheTable goes through every number of both architectures under
// every option, with every argument that a rule compares.
func TestFilterIsTheTable(t *testing.T) {
	n := 0
	everyOption(func(o Options) {
		n++
		for _, a := range sysno.Arches() {
			prog := compile(t, a, o)
			for nr := range uint32(beyond) {
				name, known := sysno.Name(a, int(nr))
				if !known {
					agree(t, prog, a, nr, [6]uint64{}, o)
					continue
				}
				table()[name].cross(o.Mode, func(args [6]uint64) { agree(t, prog, a, nr, args, o) })
			}
		}
	})
	if n < 512 {
		t.Errorf("only %d combinations", n)
	}
}

// TestForeignCalls: a call made through another interface than the table's
// means something else, so all are refused.
func TestForeignCalls(t *testing.T) {
	foreign := []sysno.Arch{sysno.I386, sysno.ARM, 0, math.MaxUint32}
	everyOption(func(o Options) {
		for _, a := range sysno.Arches() {
			prog := compile(t, a, o)
			for nr := range uint32(beyond) {
				for _, b := range append(foreign, sysno.Arches()...) {
					if a == b {
						continue
					}
					if got := cbpf.Run(prog, cbpf.Data{Nr: nr, Arch: uint32(b)}); got.Value != uint32(Errno(unix.ENOSYS)) {
						t.Fatalf("filter for %s, call %d of %s: %s", a, nr, b, Verdict(got.Value))
					}
				}
				for _, high := range []uint32{sysno.X32Bit, 1 << 31, 3 << 30} {
					if got := cbpf.Run(prog, cbpf.Data{Nr: nr | high, Arch: uint32(a)}); got.Value != uint32(Errno(unix.ENOSYS)) {
						t.Fatalf("filter for %s, number %#x: %s", a, nr|high, Verdict(got.Value))
					}
				}
			}
		}
	})
}

// TestAlwaysAllowedIsConst: the kernel answers such numbers from a bitmap, as
// long as the filter loads no argument on the way.
func TestAlwaysAllowedIsConst(t *testing.T) {
	everyOption(func(o Options) {
		for _, a := range sysno.Arches() {
			prog := compile(t, a, o)
			for _, e := range sysno.Table(a) {
				rules, err := table()[e.Name].active(o)
				if err != nil {
					t.Fatal(err)
				}
				got := cbpf.Run(prog, cbpf.Data{Nr: uint32(e.Nr), Arch: uint32(a)})
				if len(rules) == 1 && !got.Const {
					t.Fatalf("%s: %s always ends in %s but an argument is loaded", a, e.Name, rules[0].Do)
				}
				if len(rules) == 1 && got.Steps > 24 {
					t.Errorf("%s: %s takes %d steps", a, e.Name, got.Steps)
				}
			}
		}
	})
}

// TestFastCalls: what programs do all the time never runs the filter under the
// namespaces engine.
func TestFastCalls(t *testing.T) {
	prog := compile(t, sysno.AMD64, Options{Engine: policy.EngineNamespaces, SignalScope: true, PtraceScope: true})
	for _, name := range []string{
		"read", "write", "pread64", "pwrite64", "readv", "writev", "lseek", "close", "openat", "open", "stat", "fstat", "newfstatat",
		"statx", "access", "readlink", "getdents64", "mmap", "munmap", "mprotect", "brk", "madvise", "futex", "poll", "ppoll",
		"epoll_wait", "epoll_ctl", "execve", "fork", "vfork", "wait4", "exit_group", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
		"pipe2", "dup2", "unlink", "rename", "mkdir", "ftruncate", "fsync", "recvmsg", "sendmsg", "recvfrom", "clock_gettime",
		"getpid", "gettid", "sched_yield", "nanosleep", "kill", "tgkill", "chdir", "fchmod", "utimensat", "set_robust_list", "rseq",
	} {
		nr, ok := sysno.Nr(sysno.AMD64, name)
		if !ok {
			t.Fatalf("no number for %s", name)
		}
		if got := cbpf.Run(prog, cbpf.Data{Nr: uint32(nr), Arch: uint32(sysno.AMD64)}); !got.Const || got.Value != uint32(Pass) {
			t.Errorf("%s: %s, const %v", name, Verdict(got.Value), got.Const)
		}
	}
}

// TestNobodyToAsk: the static form never notifies, whatever the call.
func TestNobodyToAsk(t *testing.T) {
	everyOption(func(o Options) {
		o.NoSupervisor = unix.EACCES
		for _, a := range sysno.Arches() {
			for i, in := range compile(t, a, o) {
				if in.Code == 0x06 && in.K == uint32(Ask) {
					t.Fatalf("%s: instruction %d asks", a, i)
				}
			}
		}
	})
}

func drawOptions(t *rapid.T) Options {
	o := Options{
		Engine: rapid.SampledFrom([]policy.Engine{policy.EngineNamespaces, policy.EngineLandlock}).Draw(t, "engine"),
		Net:    rapid.Bool().Draw(t, "net"), Dgram: rapid.Bool().Draw(t, "dgram"),
		SignalScope: rapid.Bool().Draw(t, "signal"), AbstractScope: rapid.Bool().Draw(t, "abstract"),
		UnixScope: rapid.Bool().Draw(t, "unix"), PtraceScope: rapid.Bool().Draw(t, "ptrace"), Flock: rapid.Bool().Draw(t, "flock"),
		NoCopies:     rapid.Bool().Draw(t, "copies"),
		NoSupervisor: rapid.SampledFrom([]unix.Errno{0, unix.ENOSYS}).Draw(t, "alone"),
	}
	for _, r := range Guardable().Rights() {
		if rapid.Bool().Draw(t, "lacks") {
			o.Lacking.Merge(rights.Of(r))
		}
	}
	return o
}

// TestRandomOptions goes where everyOption does not: any set of rights.
func TestRandomOptions(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		o := drawOptions(r)
		a := rapid.SampledFrom(sysno.Arches()).Draw(r, "arch")
		prog := compile(t, a, o)
		for range 200 {
			e := rapid.SampledFrom(sysno.Table(a)).Draw(r, "call")
			var args [6]uint64
			for i := range args {
				args[i] = rapid.OneOf(rapid.SampledFrom(table()[e.Name].interesting(o.Mode, i)), rapid.Uint64()).Draw(r, "arg")
			}
			agree(t, prog, a, uint32(e.Nr), args, o)
		}
	})
}

// FuzzFilter looks for a call about which filter and table differ.
func FuzzFilter(f *testing.F) {
	f.Add(uint16(0), uint32(16), uint64(0), uint64(0x5412), uint64(0), uint64(0), uint64(0))
	f.Add(uint16(511), uint32(41), uint64(1)|1<<32, uint64(2), uint64(0), uint64(0), uint64(0))
	f.Add(uint16(128), uint32(56), uint64(unix.CLONE_NEWUSER), uint64(0), uint64(0), uint64(0), uint64(0))
	var options []Options
	everyOption(func(o Options) { options = append(options, o) })
	progs := make(map[[2]int][]cbpf.Instruction)
	f.Fuzz(func(t *testing.T, option uint16, nr uint32, a0, a1, a2, a3, a4 uint64) {
		i := int(option) % len(options)
		for j, a := range sysno.Arches() {
			k := [2]int{i, j}
			if progs[k] == nil {
				progs[k] = compile(t, a, options[i])
			}
			agree(t, progs[k], a, nr, [6]uint64{a0, a1, a2, a3, a4, 0}, options[i])
		}
	})
}
