//go:build linux

package nested

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/rights"
	"golang.org/x/sys/unix"
)

// raceEnv holds the directory of a victim that swaps descriptors.
const raceEnv = "NESTED_RACE"

// races are victims with more than one thread. Each prints what it reached, and how
// often.
var races = map[string]func(dir string) (map[string]int, error){
	"swap":   swap,
	"socket": reachSocket,
}

// swap has one thread change the mode of a number's file, while another puts there by
// turns a file that may be changed, one under a grant that lacks fchmod, and one that
// was limited. Both judges of a call must judge the same.
func swap(dir string) (map[string]int, error) {
	open := func(name string) int {
		fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			panic(err)
		}
		return fd
	}
	const number = 300 // where every call asks
	may, lacks, limited := open("may/f"), open("lacks/f"), open("may/limited")
	left := rights.All().Minus(rights.Of(rights.Fchmod))
	if err := capsicum.LimitSetFD(limited, left); err != nil {
		return nil, err
	}
	done := make(chan bool)
	count := map[string]int{}
	go func() {
		runtime.LockOSThread()
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
			for _, fd := range []int{may, lacks, limited} {
				if unix.Dup3(fd, number, unix.O_CLOEXEC) == nil {
					count["swapped"]++
				}
			}
		}
		close(done)
	}()
	changed, refused := 0, 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			if unix.Fchmod(number, 0o600) == nil {
				changed++
			} else {
				refused++
			}
		}
	}
	count["changed"], count["refused"] = changed, refused
	return count, nil
}

// reachSocket connects sockets that were limited to names that the grants cover, one
// with connectat and one without.
func reachSocket(dir string) (map[string]int, error) {
	count := map[string]int{}
	for _, tree := range []string{"may", "lacks"} {
		for _, confine := range []bool{false, true} {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil && confine {
				err = capsicum.LimitFD(fd, rights.SockClient)
			}
			if err != nil {
				return nil, err
			}
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: filepath.Join(dir, tree, "s")})
			if err == nil {
				count[tree]++
			} else if !errors.Is(err, unix.EACCES) {
				return nil, fmt.Errorf("connect to %s, confined %v: %w", tree, confine, err)
			}
		}
	}
	return count, nil
}

// race is a victim's life.
func race(text string) int {
	var o struct{ Name, Dir string }
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	count, err := races[o.Name](o.Dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	_ = json.NewEncoder(os.Stdout).Encode(count)
	return 0
}

// TestTwoJudges is about calls that both the library and the run are asked about.
func TestTwoJudges(t *testing.T) {
	program, exe := executables(t)
	users := []int{os.Geteuid()}
	if users[0] == 0 {
		users = append(users, ordinary)
	}
	for i := range len(users) * len(engines) {
		uid, engine := users[i/len(engines)], engines[i%len(engines)]
		for name, judge := range map[string]func(*testing.T, string, map[string]int){"swap": swapped, "socket": reached} {
			t.Run(fmt.Sprintf("%s, uid %d: %s", engine, uid, name), func(t *testing.T) {
				base := scratch(t, exe)
				for _, dir := range []string{"may", "lacks"} {
					plant(t, filepath.Join(base, dir), exe)
					listen(t, filepath.Join(base, dir, "s"))
				}
				if err := os.WriteFile(filepath.Join(base, "may", "limited"), nil, 0o644); err != nil {
					t.Fatal(err)
				}
				if uid != os.Geteuid() {
					chown(t, base, uid)
				}
				text, err := json.Marshal(map[string]string{"Name": name, "Dir": base})
				if err != nil {
					t.Fatal(err)
				}
				all := policyRWX().Union(rights.Of(rights.Connectat))
				judge(t, base, run[int](t, uid, []string{program, "--engine=" + engine, "--cap", filepath.Join(base, "may") + "=" + all.String(),
					"--cap", filepath.Join(base, "lacks") + "=" + kept("fchmod"), "--env", raceEnv + "=" + string(text), "--", exe}))
			})
		}
	}
}

// swapped checks what swap has reached.
func swapped(t *testing.T, base string, count map[string]int) {
	t.Logf("%v", count)
	for _, what := range []string{"swapped", "changed", "refused"} {
		if count[what] == 0 {
			t.Errorf("%s: never", what)
		}
	}
	for name, want := range map[string]os.FileMode{"may/f": 0o600, "lacks/f": 0o644, "may/limited": 0o644} {
		st, err := os.Stat(filepath.Join(base, name))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", name, st.Mode(), err, want)
		}
	}
}

// reached checks what reachSocket has reached.
func reached(t *testing.T, _ string, count map[string]int) {
	if count["may"] != 2 || count["lacks"] != 0 {
		t.Errorf("connected: %v, want 2 times to the one that may be, and never to the other", count)
	}
}

// listen has somebody listen on a socket outside.
func listen(t *testing.T, name string) {
	t.Helper()
	l, err := net.Listen("unix", name)
	if err == nil {
		err = os.Chmod(name, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}
