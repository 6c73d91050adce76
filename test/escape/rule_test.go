//go:build linux && amd64

package escape

import (
	"testing"

	"github.com/capsicum-go/capsicum/internal/cbpf"
)

// TestManyRules is row 45: a jump reaches 255 instructions, and a filter of 600
// rules needs longer ones. Each number has a verdict of its own, so a jump that
// wraps around shows.
func TestManyRules(t *testing.T) {
	const rules = 600
	verdict := func(n uint32) uint32 { return 0x50000 | n%4096 } // SECCOMP_RET_ERRNO
	var b cbpf.Builder
	b.Load(cbpf.OffNr)
	ends := make([]cbpf.Label, rules)
	for n := range ends {
		ends[n] = b.Label()
		b.JumpEqual(uint32(n), ends[n], cbpf.Next)
	}
	b.Ret(0)
	for n, l := range ends {
		b.Bind(l)
		b.Ret(verdict(uint32(n)))
	}
	prog, err := b.Assemble()
	if err != nil {
		t.Fatal(err)
	}
	if err := cbpf.Check(prog); err != nil {
		t.Fatal(err)
	}
	var holes []string
	for nr := range uint32(2 * rules) {
		want := uint32(0)
		if nr < rules {
			want = verdict(nr)
		}
		if got := cbpf.Run(prog, cbpf.Data{Nr: nr}).Value; got != want {
			holes = append(holes, "wrong verdict")
			t.Errorf("number %d: %#x, want %#x", nr, got, want)
		}
	}
	verdicts.add(verdictOf(45, "600-rules", 2*rules, holes))
}

// verdictOf is a verdict on something that has no engine and no user.
func verdictOf(row int, name string, attempts int, holes []string) verdict {
	return verdict{row, name, "-", "-", attempts, holes, 0, 0}
}
