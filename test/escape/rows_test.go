//go:build linux && amd64

package escape

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

// everything is what a writable grant is given where the attack is on names:
// a call that the grant refuses anyway would not race.
const everything = "{g}=rw,connectat"

// Reasons why an attempt may fail without a sandbox.
const (
	kernelLacks  = "this kernel has no such thing"
	kernelSays   = "the kernel itself refuses it to everybody"
	ordinaryUser = "it takes root"
	retired      = "no kernel that is still supported has it"
	memoryCode   = "a program may run what it has in memory: the execute right is about files"
	loadedCode   = "without mounts there is no noexec: a readable file can be mapped and run by a loader that is granted"
	calledUpon   = "on the host's network an outsider may call a name the sandbox bound; the sandbox reaches nobody by it"
	noMisuse     = "its success would hurt the machine the test runs on"
)

// attacks is the table.
var attacks = slices.Concat(raceAttacks, nameAttacks, socketAttacks, callAttacks, processAttacks)

var raceAttacks = []*attack{
	{row: 1, name: "flipped-names", grants: []string{"--cap", everything}, victim: []string{"race", "private", "{T}"},
		unproven: raceExcuses},
	{row: 1, name: "flipped-relative-names", grants: []string{"--cap", everything}, victim: []string{"race", "private", "{T}", "rel"},
		unproven: raceExcuses},
	{row: 2, name: "flipped-through-memfd", grants: []string{"--cap", everything}, victim: []string{"race", "memfd", "{T}"},
		unproven: raceExcuses},
	{row: 2, name: "flipped-through-shm", grants: []string{"--cap", everything}, victim: []string{"race", "shm", "{T}"},
		unproven: raceExcuses},
	{row: 2, name: "flipped-by-vm-peer", grants: []string{"--cap", everything}, victim: []string{"race", "vm", "{T}"},
		unproven: raceExcuses},
	{row: 3, name: "flipped-program", grants: []string{"--rox", "{g}"}, victim: []string{"exec-race", "{T}"},
		prepare: func(st *stage) { st.copy(built.ok, "g/x", 0o755) }},
	{row: 4, name: "vanishing-memory", grants: []string{"--cap", everything}, victim: []string{"unmap", "{s}/f", "{s}/dsock"},
		wants: map[string]string{"*": "ENOENT EFAULT EACCES EPERM", "*-send*": "EBADF EFAULT ENOENT EACCES EPERM"}},
	{row: 5, name: "no-descriptor-left", grants: []string{"--ro", "{g}"}, victim: []string{"exhaust", "{g}/f", "{s}/f"},
		unproven: map[string]string{"without-anything": "=memory is not needed for an open"}},
	{row: 7, name: "swapped-inner-directory", grants: []string{"--cap", everything}, victim: []string{"swap", "{T}", "inner"},
		unproven: raceExcuses},
	{row: 7, name: "swapped-symlink", grants: []string{"--cap", everything}, victim: []string{"swap", "{T}", "final"},
		unproven: swapExcuses},
	{row: 7, name: "climbing-out", grants: []string{"--rw", "{g}"}, victim: []string{"climb", "{T}"}},
	{row: 8, name: "judged-is-opened", grants: []string{"--ro", "{r}", "--rw", "{g}"}, victim: []string{"twice", "{r}", "{g}"},
		resolve: func(st *stage, name string) bool { return st.changed("r/f") }},
	{row: 31, name: "exec-while-opening", grants: []string{"--ro", "{T}/g"}, victim: []string{"reexec", "{g}/a", "{g}/b", "60"},
		prepare: func(st *stage) { st.file("g/a", "a", 0o644); st.file("g/b", "b", 0o644) }},
}

// raceExcuses are the attempts of ops.c that this kernel does not have.
var raceExcuses = map[string]string{}

// swapExcuses: what does not follow the last symlink is not in this attack.
var swapExcuses = map[string]string{"open-creat": kernelSays, "creat": kernelSays}

var nameAttacks = []*attack{
	{row: 9, name: "names-of-the-caller", grants: []string{}, victim: []string{"self"}},
	{row: 10, name: "magic-links", grants: []string{"--rw", "{g}"}, victim: []string{"magic", "{T}", "{out}"},
		unproven: map[string]string{
			"init-*": ordinaryUser, "kcore": ordinaryUser, "user:core_pattern": ordinaryUser,
			"sysrq-trigger": kernelLacks, "user:hostname": ordinaryUser, "*-pagemap": "reading it takes a whole word", "user:*-pagemap": ordinaryUser,
			"user:*-syscall": ordinaryUser, "user:*-stack": ordinaryUser, "*-stack": kernelLacks, "*-io": kernelLacks, "*-syscall": kernelLacks,
			"proc-net-dotdot": kernelSays,
		}},
	{row: 10, name: "file-handles", grants: []string{"--rw", "{g}"}, victim: []string{"handle", "{T}"},
		unproven: map[string]string{"user:open_by_handle_at": ordinaryUser}},
	{row: 11, name: "leaked-descriptors", grants: []string{"--ro", "{g}"}, victim: []string{"fds", "{T}"}, cwd: "{s}",
		files: leaks},
	{row: 12, name: "kept-descriptor", grants: []string{"--ro", "{g}", "--fd", "3=read,seek,fstat,mmap_r,event,fcntl"}, victim: []string{"fds", "{T}", "3"}, cwd: "{s}",
		files: leaks},
	{row: 13, name: "reopened-descriptor",
		grants: []string{"--fd", "3=read,seek,fstat,mmap_r,event,fcntl", "--fd", "4=ro", "--fd", "5"},
		victim: []string{"reopen", "{h}"}, files: reopenable,
		unproven: map[string]string{
			"trunc*": "O_PATH and read-only descriptors are opened again by name, which the owner may",
			"*fd/5":  kernelSays, "user:linkat-empty*": "it takes CAP_DAC_READ_SEARCH", "fchmodat2-empty": kernelLacks,
			"fd-*": kernelSays,
		}},
	{row: 38, name: "two-names", grants: []string{"--rw", "{g}", "--ro", "{r}", "--rw", "{e}"}, victim: []string{"cross", "{T}"},
		unproven: map[string]string{
			"linkat-proc*": kernelSays, "user:mknod-*": ordinaryUser, "user:linkat-empty*": "it takes CAP_DAC_READ_SEARCH",
			"linkat-fd-link*": "a descriptor without FMODE_PATH or capability", "user:whiteout*": ordinaryUser,
		}},
	{row: 38, name: "read-only-grant", grants: []string{"--ro", "{r}", "--rw", "{g}"}, victim: []string{"readonly", "{T}"},
		resolve: func(st *stage, name string) bool { return st.changed("r/m-" + name) }},
	{row: 39, name: "oracle", grants: []string{"--rw", "{g}"}, victim: []string{"oracle", "{T}", "{out}"},
		unproven: oracleExcuses},
	{row: 0, name: "lent-privilege", grants: []string{"--cap", everything, "--rw", "{h}", "--rw", "{T}/p"},
		victim: []string{"lend", "{g}/priv", "{h}", "{T}/p"}, only: "root", prepare: private},
}

var oracleExcuses = map[string]string{
	"user:* /root/.bashrc": ordinaryUser, "user:* /proc/1/root": ordinaryUser, "user:* private": "=for the owner only",
	"*": "both names fail alike for this call",
}

// leaks are descriptors a careless caller leaves open.
func leaks(st *stage) []*os.File {
	return openAll(st, "s/f", unix.O_RDONLY, "s", unix.O_RDONLY, "/", unix.O_RDONLY, "/", unix.O_PATH, "s/f", unix.O_RDWR)
}

// reopenable are descriptors with less than what their object allows.
func reopenable(st *stage) []*os.File {
	return openAll(st, "s/f", unix.O_RDONLY, "g", unix.O_RDONLY|unix.O_DIRECTORY, "s/f", unix.O_PATH)
}

// openAll opens pairs of name and flags.
func openAll(st *stage, pairs ...any) []*os.File {
	var out []*os.File
	for pair := range slices.Chunk(pairs, 2) {
		name := pair[0].(string)
		if !filepath.IsAbs(name) {
			name = st.in(name)
		}
		fd, err := unix.Open(name, pair[1].(int)|unix.O_CLOEXEC, 0)
		must(st.t, err)
		out = append(out, os.NewFile(uintptr(fd), name))
	}
	return out
}

// private makes root's own directory beneath the granted one, and one that
// belongs to the ordinary user alone.
func private(st *stage) {
	for _, dir := range []string{"g/priv", "p"} {
		must(st.t, os.MkdirAll(st.in(dir), 0o700))
		st.furnish(dir)
		for name, kind := range mutators {
			st.object(dir+"/m-"+name, kind)
		}
		must(st.t, os.Chmod(st.in(dir), 0o700))
	}
	must(st.t, os.Chmod(st.in("h"), 0o777))
	must(st.t, filepath.WalkDir(st.in("p"), func(name string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(name, ordinary, ordinary)
		}
		return err
	}))
}

var socketAttacks = []*attack{
	{row: 15, name: "inbound", grants: []string{"--ro", "{g}"}, victim: []string{"inbound", "{@in}", "{s}/in"},
		open: map[string]string{"landlock:accept abstract": calledUpon}},
	{row: 15, name: "abstract-sockets", grants: []string{}, victim: []string{"sockets", "{@stream}", "{@seqpacket}", "{@dgram}"}},
	{row: 15, name: "abstract-sockets-with-net", grants: []string{"--net"}, victim: []string{"sockets", "{@stream}", "{@seqpacket}", "{@dgram}"}},
	{row: 15, name: "inbound-with-net", grants: []string{"--net"}, victim: []string{"inbound", "{@in}"},
		open: map[string]string{"namespaces:accept abstract": calledUpon, "landlock:accept abstract": calledUpon}},
	{row: 16, name: "path-sockets", grants: []string{"--ro", "{g}", "--net"},
		victim: []string{"sockets", "{s}/o-stream", "{s}/o-seqpacket", "{s}/o-dgram", "{g}/o-stream", "{g}/o-seqpacket", "{g}/o-dgram"}},
	{row: 17, name: "session-bus", grants: []string{"--rw", "{g}", "--env", "XDG_RUNTIME_DIR={g}"},
		victim: []string{"sockets", "{g}/o-stream", "{s}/o-stream", "{g}/o-seqpacket", "{g}/o-dgram"}},
	{row: 40, name: "network-matrix", grants: []string{}, victim: []string{"net", "{tcp}", "{udp}"},
		unproven: map[string]string{
			"cell inet*/raw/*": ordinaryUser, "user:cell packet/*": ordinaryUser, "user:cell xdp/*": ordinaryUser,
			"cell *": "this kernel has no such combination",
		}},
	{row: 47, name: "sent-later", grants: []string{"--net"}, victim: []string{"later"}},
}

var callAttacks = []*attack{
	{row: 18, name: "io_uring", victim: []string{"uring"}, want: "ENOSYS"},
	{row: 19, name: "foreign-calls", victim: []string{"foreign", "{s}/f"}, grants: []string{"--ro", "{g}"}, want: "ENOSYS",
		wants: map[string]string{"high-number-*": "ENOENT ENOSYS"}, unproven: map[string]string{"x32-*": kernelLacks, "high-number-*": kernelSays}},
	{row: 20, name: "unlisted-numbers", victim: append([]string{"numbers"}, unlisted()...), want: "ENOSYS",
		unproven: map[string]string{"number *": "no kernel has these numbers yet"}},
	{row: 20, name: "mount-calls", grants: []string{"--rw", "{g}"}, victim: []string{"mounts", "{T}"}, control: []string{"unshare", "-m", "--propagation=private"},
		only: "root", wants: map[string]string{"mount-*": "EPERM ENOSYS", "umount2": "EPERM ENOSYS", "pivot_root": "EPERM ENOSYS", "*": "EPERM ENOSYS"}},
	{row: 20, name: "mount-calls-of-user", grants: []string{"--rw", "{g}"}, victim: []string{"mounts", "{T}"}, control: []string{"unshare", "-Urm"},
		only: "user", wants: map[string]string{"*": "EPERM ENOSYS"}},
	{row: 20, name: "needless-calls", victim: []string{"refused"}, unproven: map[string]string{
		"user:*": ordinaryUser, "*_module": kernelLacks}},
	{row: 21, name: "high-bits", victim: []string{"high"}, tty: true, unproven: map[string]string{
		"tiocsti*": "dev.tty.legacy_tiocsti may be 0", "socket-vsock*": kernelLacks, "user:prctl-mm*": ordinaryUser, "prctl-mm*": kernelSays,
	}},
	{row: 22, name: "terminal", victim: []string{"tty", "{tty}"}, tty: true, prepare: otherTerminal, unproven: map[string]string{
		"tiocsti*": "dev.tty.legacy_tiocsti may be 0", "tioclinux*": "only a console has it",
		"user:console": ordinaryUser, "user:dev-*": ordinaryUser, "dev-kmsg": kernelLacks, "tty0": kernelLacks, "console": kernelLacks,
		"pts-ptmx": "its mode is 0 by default", "dev-mem": kernelLacks,
	}},
	{row: 24, name: "clone3", victim: []string{"clone3"}, want: "ENOSYS"},
	{row: 26, name: "namespaces", victim: []string{"userns"}, want: "EPERM", wants: map[string]string{"write-*": "ENOENT EACCES EPERM EROFS"},
		unproven: map[string]string{"user:unshare-only-*": ordinaryUser, "write-*": "it takes CAP_SYS_RESOURCE", "user:setns-*": ordinaryUser, "user:chroot": ordinaryUser,
			"clone-time": "clone has no bit for it"}},
	{row: 36, name: "key-rings", victim: []string{"keys"}, want: "ENOSYS", wants: map[string]string{"proc-*": "ENOENT EACCES"}},
	{row: 37, name: "personality", victim: []string{"persona"}, want: "EPERM"},
	{row: 43, name: "own-listener", grants: []string{"--ro", "{g}"}, victim: []string{"filter", "{s}/f"}},
	{row: 35, name: "detours-to-exec", grants: []string{"--system", "--ro", "{g}", "--rw", "{h}"}, victim: []string{"exec", "{T}"},
		prepare: func(st *stage) { st.copy(built.bad, "g/x", 0o755); st.copy(built.dynamic, "g/dynamic", 0o755) },
		open: map[string]string{
			"namespaces:memfd-by-*": memoryCode, "landlock:by-loader": loadedCode, "landlock:map-executable": loadedCode,
			"landlock:make-executable": loadedCode, "landlock:map-written": loadedCode,
		}},
	{row: 35, name: "set-user-id", grants: []string{"--rox", "{g}"}, victim: []string{"setuid", "{g}/suid"}, only: "user", prepare: suid},
}

// otherTerminal opens a terminal that is somebody else's business.
func otherTerminal(st *stage) {
	term := openTerminal(st.t, st.uid)
	st.t.Cleanup(term.close)
	st.tty = term.slave.Name()
}

// suid makes a set-user-id copy of the victim.
func suid(st *stage) {
	st.copy(built.victim, "g/suid", 0o755)
	st.after = func() {
		must(st.t, os.Chown(st.in("g/suid"), 0, 0))
		must(st.t, os.Chmod(st.in("g/suid"), 0o755|os.ModeSetuid))
	}
}

// unlisted are the numbers that the table has no row for.
func unlisted() []string {
	var out []string
	for n := range uint32(601) {
		if _, row := syscalls.Lookup(sysno.AMD64, n, [6]uint64{}, syscalls.Options{Engine: policy.EngineNamespaces}); row == nil {
			out = append(out, fmt.Sprint(n))
		}
	}
	return out
}

var processAttacks = []*attack{
	{row: 25, name: "odd-relatives", grants: []string{"--ro", "{g}"}, victim: []string{"kin", "{g}/f", "{s}/f"}},
	{row: 27, name: "supervisor", grants: []string{"--ro", "{g}"}, victim: []string{"peer", "{out}"},
		unproven: map[string]string{"user:* process_madvise": ordinaryUser, "user:setpriority-user": ordinaryUser}},
	{row: 27, name: "waking-supervisor", victim: []string{"awake"}},
	{row: 28, name: "hidden-memory", grants: []string{"--rox", "{g}"}, victim: []string{"undump", "{g}/f", "{s}/f", "{g}/x711"}, prepare: unreadable},
	{row: 29, name: "signals", victim: []string{"signals", "{out}", "{out}"}, inGroup: true, alone: true,
		resolve: func(st *stage, name string) bool {
			time.Sleep(20 * time.Millisecond)
			number, _, _ := strings.Cut(name, " ")
			return st.signalled(number)
		}},
	{row: 30, name: "killed-callers", grants: []string{"--ro", "{g}"}, victim: []string{"reuse", "{g}/f", "{s}/f"}},
	{row: 32, name: "pipelines", grants: []string{"--system"}, victim: []string{"pipeline", "{pipelines}"}, restarts: true},
	{row: 32, name: "stopped-callers", grants: []string{"--ro", "{g}"}, victim: []string{"stopped", "{g}/f"}},
	{row: 33, name: "stalled-callers", grants: []string{"--rw", "{g}"}, victim: []string{"stall", "{g}/fifo", "{g}/f", "200"}, alone: true},
	{row: 46, name: "pidfd_getfd", victim: []string{"getfd", "{out}"}},
}

// unreadable makes a copy of the victim that its user may run but not read.
func unreadable(st *stage) {
	st.copy(built.victim, "g/x711", 0o711)
	if os.Geteuid() != 0 {
		return
	}
	st.after = func() {
		must(st.t, os.Chown(st.in("g/x711"), 0, 0))
		must(st.t, os.Chmod(st.in("g/x711"), 0o711))
	}
}
