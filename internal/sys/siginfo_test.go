package sys

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestSiginfoSize(t *testing.T) {
	if got := unsafe.Sizeof(unix.Siginfo{}); got != 128 {
		t.Fatalf("Siginfo has %d bytes, the kernel's siginfo_t has 128", got)
	}
	var raw [128]byte
	raw[0] = 10
	if got := SiginfoFrom(raw).Signo; got != 10 {
		t.Fatalf("Signo = %d, want 10", got)
	}
}
