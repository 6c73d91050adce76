//go:build linux

package nested

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/internal/filecaps"
	"golang.org/x/sys/unix"
)

// beneathEnv holds what a victim looks up beneath directories.
const beneathEnv = "NESTED_BENEATH"

// look is one name that is looked up beneath a directory, and what is done then.
type look struct {
	In   string // the directory
	Name string
	How  string // one of ways to look
	Want string // what comes of it: "OK", "lost" for ENOTCAPABLE, "refused" for any other or that
}

// doing are the ways to look.
var doing = map[string]func(dir int, name string) error{
	"read":   func(dir int, name string) error { return opens(dir, name, unix.O_RDONLY) },
	"write":  func(dir int, name string) error { return opens(dir, name, unix.O_WRONLY) },
	"create": func(dir int, name string) error { return opens(dir, name, unix.O_WRONLY|unix.O_CREAT) },
	"stat":   func(dir int, name string) error { return unix.Fstatat(dir, name, new(unix.Stat_t), 0) },
	"lstat": func(dir int, name string) error {
		return unix.Fstatat(dir, name, new(unix.Stat_t), unix.AT_SYMLINK_NOFOLLOW)
	},
	"mkdir":  func(dir int, name string) error { return unix.Mkdirat(dir, name, 0o755) },
	"remove": func(dir int, name string) error { return unix.Unlinkat(dir, name, 0) },
	"chmod":  func(dir int, name string) error { return unix.Fchmodat(dir, name, 0o600, 0) },
	"rename": func(dir int, name string) error { return unix.Renameat(dir, "f", dir, name) },
	"link":   func(dir int, name string) error { return unix.Linkat(dir, "f", dir, name, 0) },
	"root": func(dir int, name string) error {
		_, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
		return err
	},
}

func opens(dir int, name string, flags int) error {
	fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o644)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

// beneath is a victim's life: it looks each name up in a process that is confined one
// way, and prints what came of it.
func beneath(text string) int {
	var o struct {
		Way   string
		Looks []look
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	dirs := make([]int, len(o.Looks))
	for i, l := range o.Looks {
		h := &here{way: o.Way}
		dirs[i] = h.open(l.In, unix.O_DIRECTORY)
	}
	if o.Way == "mode" || o.Way == "both" {
		if err := capsicum.Enter(); err != nil {
			fmt.Fprintln(os.Stderr, "enter:", err)
			return 2
		}
	}
	out := map[string]string{}
	for i, l := range o.Looks {
		err := doing[l.How](dirs[i], l.Name)
		got := "refused"
		switch {
		case err == nil:
			got = "OK"
		case errors.Is(err, filecaps.ENOTCAPABLE):
			got = "lost"
		}
		if got != l.Want && (got == "OK" || l.Want != "refused") {
			out[fmt.Sprintf("%s %q in %s", l.How, l.Name, l.In)] = fmt.Sprintf("%s (%v), want %s", got, err, l.Want)
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(out)
	return 0
}

// TestBeneath looks names up beneath directories that cover other grants, and ones that
// are in no file system, in processes that are confined in each way.
func TestBeneath(t *testing.T) {
	program, exe := executables(t)
	users := []int{os.Geteuid()}
	if users[0] == 0 {
		users = append(users, ordinary)
	}
	for _, engine := range engines {
		for _, uid := range users {
			for _, way := range ways[1:] {
				t.Run(fmt.Sprintf("%s, uid %d: %s", engine, uid, way), func(t *testing.T) {
					beneathOthers(t, []string{program, "--engine=" + engine}, exe, uid, way)
				})
			}
		}
	}
}

func beneathOthers(t *testing.T, program []string, exe string, uid int, way string) {
	base := scratch(t, exe)
	for _, dir := range []string{"in", "closed", "closed/open", "outside"} {
		plant(t, filepath.Join(base, dir), exe)
	}
	in, closed := filepath.Join(base, "in"), filepath.Join(base, "closed")
	for name, to := range map[string]string{"in/away": "../outside/f", "in/absolute": in + "/f", "in/inside": "d/in/../../f", "in/d/back": "../f",
		"in/d/out": "../../outside/f", "in/up": "..", "closed/cover": "open/f", "closed/open/back": "../f", "closed/open/out": "../../in/f"} {
		if err := os.Symlink(to, filepath.Join(base, name)); err != nil {
			t.Fatal(err)
		}
	}
	if uid != os.Geteuid() {
		chown(t, base, uid)
	}
	for grants, looks := range map[string][]look{"few": looks(base, in, closed), "all": looksBeneathAll(base)} {
		text, err := json.Marshal(map[string]any{"Way": way, "Looks": looks})
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"--rwx", in, "--ro", closed, "--rwx", filepath.Join(closed, "open"), "--env", beneathEnv + "=" + string(text), "--", exe}
		if grants == "all" {
			args = append([]string{"--ro", "/", "--tmp", "--rox", exe}, args...)
		}
		for what, got := range run[string](t, uid, append(slices.Clone(program), args...)) {
			t.Errorf("%s granted: %s: %s", grants, what, got)
		}
	}
}

// looks are the names beneath a directory that may be changed, one in which only a part
// may be, and ones that only lead to them.
func looks(base, in, closed string) []look {
	beneathRoot := strings.TrimPrefix(in, "/")
	const name = "/proc"
	return []look{
		{in, "f", "read", "OK"}, {in, "f", "write", "OK"}, {in, "f", "stat", "OK"}, {in, "d/../f", "write", "OK"}, {in, "./d/in/../../f", "write", "OK"},
		{in, "inside", "write", "OK"}, {in, "d/back", "write", "OK"}, {in, "d/made", "create", "OK"}, {in, "d/new", "mkdir", "OK"}, {in, "f", "chmod", "OK"},

		{in, "..", "stat", "lost"}, {in, "../outside/f", "read", "lost"}, {in, "d/../../outside/f", "read", "lost"}, {in, "away", "read", "lost"},
		{in, "away", "lstat", "OK"}, {in, "absolute", "read", "lost"}, {in, "d/out", "read", "lost"}, {in, "up/outside/f", "read", "lost"},
		{in, "../new", "create", "lost"}, {in, "../new", "mkdir", "lost"}, {in, "../f", "remove", "lost"}, {in, "../f", "chmod", "lost"},
		{in, "../new", "rename", "lost"}, {in, "../new", "link", "lost"}, {in + "/d", "../f", "read", "lost"}, {in, "f", "root", "OK"}, {in, "/f", "root", "OK"},
		{in, "../../d/../../f", "root", "OK"}, {in, "/d/back", "root", "OK"}, {in, "absolute", "root", "refused"}, {in, "away", "root", "refused"},
		{in, "/../outside/f", "root", "refused"}, {in, "d/out", "root", "refused"},

		{closed, "f", "read", "OK"}, {closed, "f", "write", "refused"}, {closed, "made", "create", "refused"}, {closed, "new", "mkdir", "refused"},
		{closed, "f", "remove", "refused"}, {closed, "f", "chmod", "refused"}, {closed, "new", "rename", "refused"}, {closed, "new", "link", "refused"},
		{closed, "open/f", "write", "OK"}, {closed, "cover", "write", "OK"}, {closed, "d/../open/f", "write", "OK"}, {closed, "open/made", "create", "OK"},
		{closed, "open/../f", "read", "OK"}, {closed, "open/../f", "write", "refused"}, {closed, "open/back", "read", "OK"},
		{closed, "open/back", "write", "refused"}, {closed, "open/d/../../f", "chmod", "refused"}, {closed, "open/../../in/f", "read", "lost"},
		{closed, "open/out", "read", "lost"}, {closed + "/open", "../f", "read", "lost"}, {closed + "/open", "back", "read", "lost"},
		{closed, "open/new", "rename", "refused"}, {closed, "open/new", "link", "refused"},

		{"/", beneathRoot + "/f", "read", "OK"}, {"/", beneathRoot + "/f", "write", "OK"}, {"/", beneathRoot + "/d/../f", "write", "OK"},
		{"/", beneathRoot + "/../closed/f", "write", "refused"}, {"/", beneathRoot + "/../closed/f", "read", "OK"},
		{"/", beneathRoot + "/../outside/f", "read", "refused"}, {"/", "etc/shadow", "read", "refused"}, {"/", "made", "create", "refused"},
		{"/", "../etc/shadow", "read", "lost"}, {filepath.Dir(base), filepath.Base(base) + "/in/f", "write", "OK"},
		{filepath.Dir(base), filepath.Base(base) + "/outside/f", "read", "refused"}, {base, "in/absolute", "read", "lost"},

		{name, "uptime", "read", "OK"}, {name, "self/status", "read", "lost"}, {name, "self/root/etc/shadow", "read", "lost"},
		{name, "self/fd/0", "read", "lost"}, {name, "self/mem", "write", "refused"}, {name, "thread-self/mem", "write", "refused"},
	}
}

// looksBeneathAll are names where everything may be read, but for /tmp, which is another
// there and has only what is granted beside.
func looksBeneathAll(base string) []look {
	at := strings.TrimPrefix(base, "/")
	return []look{
		{"/", "usr", "stat", "OK"}, {"/", "usr/../" + at + "/in/f", "write", "OK"}, {"/", at + "/outside/f", "read", "refused"},
		{"/", at + "/in/../outside/f", "read", "refused"}, {"/", at + "/closed/f", "write", "refused"}, {"/", at + "/closed/open/f", "write", "OK"},
		{"/", "tmp/made", "create", "OK"}, {"/", "usr/made", "create", "refused"}, {"/", at + "/in/absolute", "read", "lost"},
		{"/", "proc/1/environ", "read", "refused"}, {"/", "proc/self/root/" + at + "/outside/f", "read", "lost"},
		{"/usr", "../" + at + "/in/f", "read", "lost"}, {"/tmp", strings.TrimPrefix(base, "/tmp/") + "/outside/f", "read", "refused"},
		{"/tmp", strings.TrimPrefix(base, "/tmp/") + "/in/f", "write", "OK"}, {"/tmp", "../usr", "stat", "lost"},
	}
}
