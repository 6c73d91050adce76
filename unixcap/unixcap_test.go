package unixcap

import (
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/capsicum-go/capsicum/rights"
)

// TestConstants compares every name with the right that package rights has under it.
func TestConstants(t *testing.T) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "rights.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := (&types.Config{Importer: importer.ForCompiler(fset, "source", nil)}).Check("unixcap", fset, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	known := func(name string) bool { c, ok := pkg.Scope().Lookup(name).(*types.Const); return ok && c.Exported() }
	for _, info := range rights.Table() {
		for _, alias := range info.Aliases {
			if name := "CAP_" + strings.ToUpper(alias); !known(name) {
				t.Errorf("%s is missing", name)
			}
		}
		if !known(info.CName) {
			t.Errorf("%s is missing", info.CName)
		}
	}
	for _, name := range pkg.Scope().Names() {
		right, err := rights.ParseRight(name)
		if err != nil {
			continue // CAP_ALL0 and the like
		}
		value, _ := constant.Uint64Val(pkg.Scope().Lookup(name).(*types.Const).Val())
		if value != uint64(right) {
			t.Errorf("%s is %#x, want %#x", name, value, uint64(right))
		}
	}
	if all := rights.AllOf(14).Words(); all != [2]uint64{CAP_ALL0, CAP_ALL1} {
		t.Errorf("CAP_ALL of FreeBSD 14 is %#x", all)
	}
}

// TestSets compares the operations on sets with those of package rights.
func TestSets(t *testing.T) {
	table := rights.Table()
	draw := rapid.SliceOf(rapid.Custom(func(t *rapid.T) uint64 {
		return uint64(rapid.SampledFrom(table).Draw(t, "right").Value)
	}))
	rapid.Check(t, func(t *rapid.T) {
		start, change := draw.Draw(t, "start"), draw.Draw(t, "change")
		typed := func(list []uint64) (r []rights.Right) {
			for _, v := range list {
				r = append(r, rights.Right(v))
			}
			return r
		}
		r, err := CapRightsInit(start)
		if err != nil {
			t.Fatal(err)
		}
		want := rights.Of(typed(start)...)
		is, err := CapRightsIsSet(r, change)
		if err != nil || is != want.IsSet(typed(change)...) {
			t.Fatalf("%v in %v: %v, %v", change, want, is, err)
		}
		apply, expect := CapRightsSet, want.Set
		if rapid.Bool().Draw(t, "clear") {
			apply, expect = CapRightsClear, want.Clear
		}
		if err := apply(r, change); err != nil || r.Rights != expect(typed(change)...).Words() {
			t.Fatalf("%#x, %v, want %v", r.Rights, err, want)
		}
	})
}

func TestInvalid(t *testing.T) {
	for _, right := range []uint64{
		0, 1, 3 << 57, 1 << 59, CAP_READ | CAP_EVENT, CAP_READ | 1<<62, CAP_READ | 1<<63,
	} {
		r := &CapRights{Rights: [2]uint64{CAP_READ, 1 << 58}}
		before := *r
		list := []uint64{CAP_WRITE, right}
		if err := CapRightsSet(r, list); err == nil || *r != before {
			t.Errorf("set %#x: %v, %#x", right, err, r.Rights)
		}
		if err := CapRightsClear(r, list); err == nil || *r != before {
			t.Errorf("clear %#x: %v, %#x", right, err, r.Rights)
		}
		if is, err := CapRightsIsSet(r, list); err == nil || is {
			t.Errorf("is set %#x: %v, %v", right, is, err)
		}
		if _, err := CapRightsInit(list); err == nil {
			t.Errorf("init %#x: no error", right)
		}
	}
	for _, words := range [][2]uint64{{}, {CAP_READ, 0}, {1 << 58, 1 << 57}, {CAP_READ | 1<<62, 1 << 58}} {
		r := &CapRights{Rights: words}
		if err := CapRightsSet(r, nil); err == nil {
			t.Errorf("a set of words %#x is accepted", words)
		}
		if err := CapRightsLimit(0, r); err != syscall.EINVAL {
			t.Errorf("limit to words %#x: %v, want EINVAL", words, err)
		}
	}
}
