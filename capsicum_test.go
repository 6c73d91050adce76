package capsicum_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/rights"
)

const confined = "CAPSICUM_TEST_CONFINED"

// TestMain runs the confined part in a process of its own: it is for good.
func TestMain(m *testing.M) {
	if os.Getenv(confined) == "" {
		os.Exit(m.Run())
	}
	if err := confine(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("confined")
	os.Exit(0)
}

func TestConfined(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "freebsd" {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for what, err := range map[string]error{"limit": capsicum.Limit(f, rights.Read), "enter": capsicum.Enter()} {
			if !errors.Is(err, capsicum.ErrNotSupported) {
				t.Errorf("%s: %v", what, err)
			}
		}
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), confined+"=1")
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "confined\n" {
		t.Errorf("%v\n%s", err, out)
	}
}

// confine limits a file, enters capability mode, and says what is not as it should
// be.
func confine() error {
	f, err := os.Create("file")
	if err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte("x"), 0); err != nil {
		return err
	}
	if capsicum.Sandboxed() {
		return errors.New("in capability mode from the start")
	}
	if err := capsicum.Limit(f, rights.Write, rights.Fstat); err != nil {
		return err
	}
	if err := capsicum.Limit(f, rights.Read); !errors.Is(err, capsicum.ErrNotCapable) {
		return fmt.Errorf("limit to what is gone: %w", err)
	}
	if s, err := capsicum.Rights(f); err != nil || s != rights.Of(rights.Write, rights.Fstat) {
		return fmt.Errorf("rights %v, %w", s, err)
	}
	if err := capsicum.Enter(); err != nil {
		return err
	}
	if in, err := capsicum.Mode(); err != nil || !in || !capsicum.Sandboxed() {
		return fmt.Errorf("capability mode is %v, %w", in, err)
	}
	if _, err := f.Write([]byte("y")); err != nil {
		return err
	}
	if _, err := f.Stat(); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte("z"), 0); !errors.Is(err, capsicum.ErrNotCapable) {
		return fmt.Errorf("write elsewhere: %w", err)
	}
	if _, err := os.Open("file"); !errors.Is(err, capsicum.ErrCapabilityMode) {
		return fmt.Errorf("open: %w", err)
	}
	return nil
}
