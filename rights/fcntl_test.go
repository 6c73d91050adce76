package rights

import (
	"runtime"
	"strings"
	"testing"
)

func TestFcntlValues(t *testing.T) {
	want := [...]Fcntls{0x08, 0x10, 0x20, 0x40, 0x78} // FreeBSD's
	if runtime.GOOS == "linux" {
		want = [...]Fcntls{0x008, 0x010, 0x200, 0x100, 0x318}
		if strings.HasPrefix(runtime.GOARCH, "mips") {
			want = [...]Fcntls{0x008, 0x010, 0x800000, 0x1000000, 0x1800018}
		}
	}
	if got := [...]Fcntls{FcntlGetfl, FcntlSetfl, FcntlGetown, FcntlSetown, FcntlAll}; got != want {
		t.Errorf("the mask bits are %#x, want %#x", got, want)
	}
}
