package syscalls

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/capsicum-go/capsicum/internal/cbpf"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/request"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"golang.org/x/sys/unix"
)

// libraryOptions returns options under which programs may confine themselves.
func libraryOptions() []Options {
	var out []Options
	for bits := range 1 << 8 {
		on := func(i int) bool { return bits>>i&1 != 0 }
		o := Options{Engine: policy.EngineNamespaces, Library: true, Net: on(0), Dgram: on(1), SignalScope: on(2), AbstractScope: on(2),
			UnixScope: on(3), PtraceScope: on(4), Flock: on(5)}
		if on(6) {
			o.Lacking = Guardable()
		}
		if on(7) {
			o.Engine = policy.EngineLandlock
		}
		out = append(out, o)
	}
	return out
}

// samples returns arguments at which a rule of either column of row may change its
// mind.
func (row *Row) samples(r *rand.Rand, n int) [][6]uint64 {
	var values [6][]uint64
	for i := range values {
		values[i] = slices.Concat(row.interesting(Wrapped, i), row.interesting(Attached, i))
	}
	out := make([][6]uint64, n)
	for i := range out {
		for j := range values {
			out[i][j] = values[j][r.IntN(len(values[j]))]
		}
	}
	return out
}

// TestLibraryIsNoLessStrict: what a program may do that is started by the command
// and may confine itself is never more than what one may do that may not; and what
// the library has to be asked about is asked.
func TestLibraryIsNoLessStrict(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	asked, refused := 0, 0
	for _, o := range libraryOptions() {
		wrapped, attached := o, Options{Mode: Attached}
		wrapped.Library = false
		for _, a := range sysno.Arches() {
			prog := compile(t, a, o)
			if len(prog) > request.MaxFilter {
				t.Fatalf("%d instructions: %+v", len(prog), o)
			}
			for _, e := range sysno.Table(a) {
				row, nr := table()[e.Name], uint32(e.Nr)
				for _, args := range row.samples(r, 12) {
					agree(t, prog, a, nr, args, o)
					got, _ := Lookup(a, nr, args, o)
					run, _ := Lookup(a, nr, args, wrapped)
					own, _ := Lookup(a, nr, args, attached)
					if want := max(run.rank(), own.rank()); got.rank() != want {
						t.Fatalf("%s %#x: %s, where wrapped is %s and the library %s\n%+v", e.Name, args, got, run, own, o)
					}
					if MayContinue(a, nr, args, o) && !(MayContinue(a, nr, args, wrapped) && MayContinue(a, nr, args, attached)) {
						t.Fatalf("%s %#x: continued, though one of both may not be\n%+v", e.Name, args, o)
					}
					if got == Ask {
						asked++
					} else if got != Pass {
						refused++
					}
				}
			}
		}
	}
	if asked == 0 || refused == 0 {
		t.Errorf("%d questions and %d refusals were looked at", asked, refused)
	}
}

// TestLibraryRequests: only the filter of programs that may confine themselves knows
// requests, and numbers without a row stay refused.
func TestLibraryRequests(t *testing.T) {
	for _, o := range []Options{
		{Engine: policy.EngineNamespaces}, {Engine: policy.EngineNamespaces, Library: true},
		{Engine: policy.EngineLandlock}, {Engine: policy.EngineLandlock, Library: true},
	} {
		prog := compile(t, sysno.Native, o)
		want := unlisted
		if o.Library {
			want = Ask
		}
		agree(t, prog, sysno.Native, request.Number, [6]uint64{}, o)
		if got := cbpf.Run(prog, cbpf.Data{Nr: request.Number, Arch: uint32(sysno.Native)}); got.Value != uint32(want) {
			t.Errorf("library %v: a request is answered with %s", o.Library, Verdict(got.Value))
		}
		for nr := range uint32(beyond) {
			if _, known := sysno.Name(sysno.Native, int(nr)); known {
				continue
			}
			if got := cbpf.Run(prog, cbpf.Data{Nr: nr, Arch: uint32(sysno.Native)}); got.Value != uint32(Errno(unix.ENOSYS)) {
				t.Errorf("library %v: number %d: %s", o.Library, nr, Verdict(got.Value))
			}
		}
	}
}
