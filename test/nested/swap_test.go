//go:build linux

package nested

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// raceTime is how long a victim swaps.
const raceTime = 2 * time.Second

// while runs change on a thread of its own, again and again, as long as try is tried.
func while(change func(i int), try func()) (changed int) {
	var over atomic.Bool
	done := make(chan bool)
	go func() {
		runtime.LockOSThread()
		for ; !over.Load(); changed++ {
			change(changed)
		}
		close(done)
	}()
	for end := time.Now().Add(raceTime); time.Now().Before(end); {
		try()
	}
	over.Store(true)
	<-done
	return changed
}

// limited opens a directory and takes from it what left has not.
func limited(name string, left rights.Set) (int, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = capsicum.LimitSetFD(fd, left)
	}
	return fd, err
}

// says reads which directory's a file is, and closes it.
func says(fd int) string {
	defer unix.Close(fd)
	text := make([]byte, 16)
	n, err := unix.Read(fd, text)
	if err != nil {
		return err.Error()
	}
	return string(text[:n])
}

// moveAway has one thread put another directory in the place of a held one, under the
// way back to it.
func moveAway(dir string) (map[string]int, error) {
	held, err := limited(filepath.Join(dir, "a"), nearly)
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	names := []string{"d/../who", "d/in/../../who", "round"} // the last is a link
	i := 0
	count["changed"] = while(func(int) {
		_ = unix.Renameat2(unix.AT_FDCWD, dir+"/a", unix.AT_FDCWD, dir+"/b", unix.RENAME_EXCHANGE)
	}, func() {
		i++
		if fd, err := unix.Openat(held, names[i%len(names)], unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			count[says(fd)]++
		}
	})
	return count, nil
}

// rename has one thread write another name where the one is that is looked up.
func rename(dir string) (map[string]int, error) {
	held, err := limited(filepath.Join(dir, "a"), nearly)
	if err == nil {
		err = capsicum.Enter()
	}
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	names := [][]byte{[]byte("./././././who\x00"), []byte("../b/who\x00"), append([]byte(dir+"/b/who"), 0), []byte("\x00")}
	buf := make([]byte, 256)
	name := uintptr(unsafe.Pointer(&buf[0]))
	count["changed"] = while(func(i int) { copy(buf, names[i%len(names)]) }, func() {
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT, uintptr(held), name, unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if e == 0 {
			count[says(int(fd))]++
		}
		var st unix.Stat_t
		_, _, e = unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(held), name, uintptr(unsafe.Pointer(&st)), unix.AT_EMPTY_PATH, 0, 0)
		if e == 0 && st.Size == int64(len(other)) {
			count[other]++
		}
	})
	runtime.KeepAlive(buf)
	return count, nil
}

// reopen has one thread change what is asked for.
func reopen(dir string) (map[string]int, error) {
	held, err := limited(filepath.Join(dir, "a"), rights.Of(rights.Lookup, rights.Read, rights.Fstat, rights.Fcntl))
	if err == nil {
		err = capsicum.Enter()
	}
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC}
	name, err := unix.BytePtrFromString("who")
	if err != nil {
		return nil, err
	}
	flags := []uint64{unix.O_RDONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_TRUNC}
	count["changed"] = while(func(i int) { atomic.StoreUint64(&how.Flags, unix.O_CLOEXEC|flags[i%len(flags)]) }, func() {
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT2, uintptr(held), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(how)), unix.SizeofOpenHow, 0, 0)
		if e != 0 {
			return
		}
		mode, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if err == nil && mode&unix.O_ACCMODE != unix.O_RDONLY {
			count["writable"]++
		}
		count[says(int(fd))]++
	})
	return count, nil
}

// swapDir has one thread put by turns a directory of which nothing may be read, and
// ones of which it may, under the number beneath which names are looked up.
func swapDir(dir string) (map[string]int, error) {
	held, err := limited(filepath.Join(dir, "a"), nearly.Minus(rights.Of(rights.Read)).Union(rights.Of(rights.Lookup)))
	if err != nil {
		return nil, err
	}
	may, err := limited(filepath.Join(dir, "b"), nearly)
	if err != nil {
		return nil, err
	}
	free, err := limited(filepath.Join(dir, "b"), rights.All())
	if err != nil {
		return nil, err
	}
	const number = 300 // where every call asks
	count := map[string]int{}
	count["changed"] = while(func(i int) { _ = unix.Dup3([]int{held, may, held, free}[i%4], number, unix.O_CLOEXEC) }, func() {
		if fd, err := unix.Openat(number, "who", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			count[says(fd)]++
		}
	})
	return count, nil
}

// fork has one thread go from one directory to another, both of which may be the
// sandbox's own, while children are made that must know where they are and what they
// have limited.
func fork(dir string) (map[string]int, error) {
	if os.Getenv("NESTED_CHILD") != "" {
		return child(dir)
	}
	places := []string{"/tmp/one", "/tmp/two", dir}
	for _, p := range places[:2] {
		if err := os.Mkdir(p, 0o755); err != nil {
			return nil, err
		}
	}
	if err := unix.Chdir(places[0]); err != nil { // the first child may be made before the other thread begins
		return nil, err
	}
	held, err := limited(filepath.Join(dir, "a"), rights.Of(rights.Lookup, rights.Read, rights.Seek, rights.Fstat))
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(held), "held")
	count := map[string]int{}
	lost := 0
	count["changed"] = while(func(i int) {
		want := places[i%len(places)]
		got := ""
		if err := unix.Chdir(want); err == nil {
			got, _ = unix.Getwd()
		}
		if got != want {
			lost++
		}
	}, func() {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "NESTED_CHILD=1", "PWD=")
		cmd.ExtraFiles = []*os.File{file}
		out, err := cmd.Output()
		got := map[string]int{}
		if err == nil {
			err = json.Unmarshal(out, &got)
		}
		if err != nil {
			count["failed"]++
		}
		for what, n := range got {
			count[what] += n
		}
	})
	count["lost"] = lost
	return count, nil
}

// child tells what a child of fork finds.
func child(dir string) (map[string]int, error) {
	count := map[string]int{}
	switch cwd, err := unix.Getwd(); {
	case err == nil && (cwd == "/tmp/one" || cwd == "/tmp/two" || cwd == dir):
		count["somewhere"]++
	default:
		count["astray"]++
		count[fmt.Sprintf("(in %q, %v)", cwd, err)]++
	}
	if set, err := capsicum.RightsFD(3); err != nil || set.IsSet(rights.Write) || !set.IsSet(rights.Read) {
		count["unlimited"]++
	}
	if err := unix.Mkdirat(3, "new", 0o755); err == nil {
		count["unlimited"]++
	} else if errors.Is(err, capsicum.ErrNotCapable) {
		count["limited"]++
	}
	return count, nil
}

// killOutside makes a process descriptor of a socket that a process outside has made,
// which is descriptor 0, and signals that.
func killOutside(string) (map[string]int, error) {
	if err := capsicum.LimitSetFD(0, nearly); err != nil {
		return nil, err
	}
	const mark = 0x7064
	if err := unix.SetsockoptInt(0, unix.SOL_SOCKET, unix.SO_RCVLOWAT, mark); err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, sig := range []unix.Signal{0, unix.SIGURG} {
		if _, _, e := unix.Syscall(request.Number, uintptr(request.Pdkill), 0, uintptr(sig)); e == 0 {
			count["signalled"]++
		} else if e == unix.ESRCH {
			count["nobody"]++
		}
	}
	return count, nil
}

// other is what the file in directory b says; that in a says its name.
const other = "not a"

// swaps are the victims, with what each has to reach and what it must not.
var swaps = map[string]struct {
	do          func(dir string) (map[string]int, error)
	must, never []string
}{
	"move away": {moveAway, []string{"a", "changed"}, []string{other}},
	"rename":    {rename, []string{"a", "changed"}, []string{other}},
	"reopen":    {reopen, []string{"a", "changed"}, []string{"writable", ""}},
	"swap dir":  {swapDir, []string{other, "changed"}, []string{"a"}},
	"fork":      {fork, []string{"somewhere", "limited", "changed"}, []string{"astray", "unlimited", "lost", "failed"}},
	"kill":      {killOutside, []string{"nobody"}, []string{"signalled"}},
}

func init() {
	for name, s := range swaps {
		races[name] = s.do
	}
}

// TestSwaps is about what changes between the look of one judge and that of the other.
func TestSwaps(t *testing.T) {
	program, exe := executables(t)
	users := []int{os.Geteuid()}
	if users[0] == 0 {
		users = append(users, ordinary)
	}
	for _, engine := range engines {
		for _, uid := range users {
			for name := range swaps {
				t.Run(fmt.Sprintf("%s, uid %d: %s", engine, uid, name), func(t *testing.T) {
					swapping(t, []string{program, "--engine=" + engine}, exe, uid, name)
				})
			}
		}
	}
}

func swapping(t *testing.T, program []string, exe string, uid int, name string) {
	base := scratch(t, exe)
	for dir, text := range map[string]string{"a": "a", "b": other} {
		dir = filepath.Join(base, dir)
		plant(t, dir, exe)
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "who"), []byte(text), 0o644), os.Symlink("d/../who", filepath.Join(dir, "round"))); err != nil {
			t.Fatal(err)
		}
	}
	if uid != os.Geteuid() {
		chown(t, base, uid)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	in, ours := os.NewFile(uintptr(pair[0]), "in"), os.NewFile(uintptr(pair[1]), "ours")
	defer in.Close()
	defer ours.Close()
	text, err := json.Marshal(map[string]string{"Name": name, "Dir": base})
	if err != nil {
		t.Fatal(err)
	}
	count := runWith[int](t, uid, in, append(program, "--tmp", "--rox", exe, "--rwx", base, "--env", raceEnv+"="+string(text), "--", exe))
	t.Logf("%v", count)
	for _, what := range swaps[name].must {
		if count[what] == 0 {
			t.Errorf("%q: never", what)
		}
	}
	for _, what := range swaps[name].never {
		if count[what] != 0 {
			t.Errorf("%q: %d times", what, count[what])
		}
	}
}
