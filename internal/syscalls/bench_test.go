package syscalls

import (
	"testing"

	"github.com/capsicum-go/capsicum/internal/sysno"
)

// BenchmarkCompile is a part of every start.
func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		compile(b, sysno.Native, llFloor)
	}
}
