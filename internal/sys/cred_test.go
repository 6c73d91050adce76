package sys

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// onThread runs f on a thread that ends with it: not the process's first, which does
// not, and which others ask about by the number of the process.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread()
			onThread(f)
			return
		}
		f()
	}()
	<-done
}

func TestIdentityThereAndBack(t *testing.T) {
	base, err := ThreadIdentity()
	if err != nil {
		t.Fatal(err)
	}
	want := *base
	want.Effective = 0
	if os.Getuid() == 0 {
		want = Identity{RUID: 1001, RGID: 2001, EUID: 1002, EGID: 2002, FSUID: 1003, FSGID: 2003, Groups: []uint32{7, 8}}
	}
	private := filepath.Join(t.TempDir(), "private")
	if err := os.WriteFile(private, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	onThread(func() {
		if err := Assume(base, &want); err != nil {
			t.Errorf("assume: %v", err)
			return
		}
		got, err := ThreadIdentity()
		if err != nil || !got.Equal(&want) {
			t.Errorf("assumed %+v, want %+v, %v", got, want, err)
		}
		if fd, err := unix.Open(private, unix.O_RDONLY, 0); os.Getuid() == 0 && !errors.Is(err, unix.EACCES) {
			t.Errorf("opened somebody else's file: %v", err)
			unix.Close(fd)
		}
		if err := Resume(base, &want); err != nil {
			t.Errorf("resume: %v", err)
		}
		if got, err := ThreadIdentity(); err != nil || !got.Equal(base) {
			t.Errorf("back to %+v, want %+v, %v", got, base, err)
		}
	})
	// No other thread has changed.
	if got, err := ThreadIdentity(); err != nil || !got.Equal(base) {
		t.Errorf("another thread is %+v, want %+v, %v", got, base, err)
	}
}

// Capabilities the thread has not are not gained, and users it may not become
// are refused.
func TestIdentityGainsNothing(t *testing.T) {
	base, err := ThreadIdentity()
	if err != nil {
		t.Fatal(err)
	}
	onThread(func() {
		small := *base
		small.Effective = 0
		if err := Assume(base, &small); err != nil {
			t.Errorf("drop capabilities: %v", err)
			return
		}
		wide := small
		wide.Effective = ^uint64(0)
		if err := Assume(&small, &wide); err != nil {
			t.Errorf("assume: %v", err)
		}
		if got, _ := ThreadIdentity(); got.Effective != 0 {
			t.Errorf("gained capabilities %#x", got.Effective)
		}
		other := small
		other.FSUID = 4242
		if err := Assume(&small, &other); err == nil {
			t.Error("became another user without a capability")
		}
	})
}

func TestFixed(t *testing.T) {
	fixed, err := Fixed()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 && fixed {
		t.Error("root can change its identity")
	}
}

func TestOwnedDescriptor(t *testing.T) {
	n, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := NewFD(n)
	d, err := f.Dup()
	if err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(uintptr(d.Int()), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("copy is inherited by exec: %d, %v", flags, err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if f.Int() != -1 || f.Valid() {
			t.Errorf("closed descriptor is %d", f.Int())
		}
	}
	if _, err := f.Dup(); !errors.Is(err, unix.EBADF) {
		t.Errorf("copy of a closed descriptor: %v", err)
	}
	if got := d.Release(); got < 0 || unix.Close(got) != nil {
		t.Errorf("released %d", got)
	}
	var none *FD
	if none.Int() != -1 || none.Close() != nil {
		t.Error("no descriptor is one")
	}
	if NewFD(-1).Valid() {
		t.Error("-1 is a descriptor")
	}
}
