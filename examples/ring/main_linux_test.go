package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/capsicum-go/capsicum/internal/selfcopy"
)

// TestMain is the program itself, or the consumer, when it is called so.
func TestMain(m *testing.M) {
	if os.Getenv("RING_TEST") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// program returns a command that is the program, as an ordinary user too if we are root.
func program(t *testing.T, user bool, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(selfcopy.Make(t))
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

func TestExploit(t *testing.T) {
	for _, user := range []bool{false, true} {
		out, err := program(t, user, "RING_EXPLOIT=1").Output()
		if err != nil || len(out) != 0 {
			t.Errorf("%v; what succeeds:\n%s", err, out)
		}
	}
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
