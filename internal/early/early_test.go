package early_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/early"
)

func TestNofile(t *testing.T) {
	const variable = "CAPSICUM_TEST_EARLY"
	if os.Getenv(variable) != "" {
		var now unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
			t.Fatal(err)
		}
		if now.Cur == 77 {
			t.Fatal("the runtime did not raise the limit, so this package is not needed")
		}
		if early.Nofile.Cur != 77 {
			t.Fatalf("soft limit %d, started with 77", early.Nofile.Cur)
		}
		return
	}
	cmd := exec.Command("/bin/sh", "-c", "ulimit -S -n 77; exec /proc/$$/fd/9 -test.run=TestNofile -test.v")
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{nil, nil, nil, nil, nil, nil, exe} // descriptor 9
	cmd.Env = append(os.Environ(), variable+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestNofile") {
		t.Errorf("%v\n%s", err, out)
	}
}
