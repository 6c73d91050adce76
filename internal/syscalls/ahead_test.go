package syscalls

import (
	"os"
	"slices"
	"testing"

	"github.com/capsicum-go/capsicum/internal/sysno"
)

// TestAhead is for who changes the table and forgets make generate: a filter in
// the executable must be the table's.
func TestAhead(t *testing.T) {
	for _, arch := range sysno.Arches() {
		want, err := CompileAhead(arch)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile("ahead_" + arch.String() + ".bin")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the filters for %s are not the table's; run make generate", arch)
		}
	}
	for _, o := range Ahead() {
		want, err := generate(sysno.Native, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := ahead(sysno.Native, o); !slices.Equal(got, want) {
			t.Errorf("%+v: %d instructions, the table makes %d", o, len(got), len(want))
		}
	}
	if got := ahead(sysno.Native, Options{NoCopies: true}); got != nil {
		t.Errorf("a filter of %d instructions for other options", len(got))
	}
}
