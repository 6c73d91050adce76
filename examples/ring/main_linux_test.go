package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/shm"
)

// TestMain is the program itself, or the consumer, when it is called so.
func TestMain(m *testing.M) {
	switch os.Getenv("RING_TEST") {
	case "":
	case "unconfined":
		exploit(shm.FromFile(os.NewFile(3, "ring")), shm.FromFile(os.NewFile(4, "place")))
		os.Exit(0)
	default:
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// program returns a command that is the program, as an ordinary user too if we are root.
func program(t *testing.T, user bool, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(exetest.Self(t))
	cmd.Env = append(append(os.Environ(), "RING_TEST=1"), env...)
	cmd.Stderr = os.Stderr
	if user && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1500, Gid: 1500}}
	}
	return cmd
}

func TestCopy(t *testing.T) {
	for _, user := range []bool{false, true} {
		data := make([]byte, 3<<20+17)
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		cmd := program(t, user)
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		if err != nil || !bytes.Equal(out, data) {
			t.Errorf("%d bytes of %d come through: %v", len(out), len(data), err)
		}
	}
}

// TestExploit: nothing of what the consumer tries succeeds, and all of it does in a
// process that has the same, without limits.
func TestExploit(t *testing.T) {
	for _, user := range []bool{false, true} {
		confined := attempts(t, program(t, user, "RING_EXPLOIT=1"))
		free := program(t, user)
		free.Env = append(free.Env, "RING_TEST=unconfined")
		for _, size := range []int64{ringSize, placeSize} {
			o, err := shm.Create(size)
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			// As what the program makes is its own user's.
			if a := free.SysProcAttr; a != nil {
				if err := o.File().Chown(int(a.Credential.Uid), int(a.Credential.Gid)); err != nil {
					t.Fatal(err)
				}
			}
			free.ExtraFiles = append(free.ExtraFiles, o.File())
		}
		unconfined := attempts(t, free)
		if len(confined) < 8 || len(confined) != len(unconfined) {
			t.Errorf("%d attempts confined, %d unconfined", len(confined), len(unconfined))
		}
		for what, result := range confined {
			if result == done {
				t.Errorf("%s: succeeds", what)
			}
			if unconfined[what] != done {
				t.Errorf("%s: unconfined: %s", what, unconfined[what])
			}
		}
	}
}

// attempts returns what came of each of an exploit's.
func attempts(t *testing.T, cmd *exec.Cmd) map[string]string {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	results := map[string]string{}
	for line := range strings.Lines(string(out)) {
		what, result, _ := strings.Cut(strings.TrimSpace(line), ": ")
		results[what] = result
	}
	return results
}

// TestCheats: numbers that can not be are found out.
func TestCheats(t *testing.T) {
	ring, place := make([]byte, ringSize), make([]byte, placeSize)
	*word(place, 0) = 1
	w := &writer{ring: ring, place: place}
	if _, err := w.Write([]byte("x")); !errors.Is(err, errCheated) {
		t.Errorf("more is read than was written: %v", err)
	}
	*word(ring, 0) = dataSize + 1
	if _, err := (&reader{ring: ring, place: place}).Read(make([]byte, 1)); !errors.Is(err, errCheated) {
		t.Errorf("more is written than there is room: %v", err)
	}
	*word(ring, 0), *word(place, 0) = 0, 0
	w.gone = func() bool { return true }
	if n, err := w.Write(make([]byte, dataSize+1)); n != dataSize || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("nobody reads: %d, %v", n, err)
	}
}
