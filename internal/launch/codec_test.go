package launch

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/rights"
)

// fill gives every field below v a value, so that one that the codec does not
// know of makes a difference.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "string"))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(rapid.Uint64().Draw(t, "uint") & (1<<(8*v.Type().Size()-1) - 1))
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		if n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		for i := range n {
			fill(t, v.Index(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[rights.Set]() {
			var set rights.Set
			for _, info := range rights.Table() {
				if rapid.Bool().Draw(t, info.Name) {
					set.Set(info.Value)
				}
			}
			v.Set(reflect.ValueOf(set))
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("no value for a %s", v.Type())
	}
}

func TestSetupRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &setup{Plan: new(plan.Plan)}
		for _, part := range []any{&want.Plan, &want.Filter, &want.Held, &want.Engine, &want.Linger, &want.State} {
			fill(t, reflect.ValueOf(part).Elem())
		}
		var e encoder
		e.setup(want)
		d := decoder{b: e.b}
		got := d.setup()
		if d.err != nil || len(d.b) != 0 || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v\n%+v\n%v, %d bytes left", got, want, d.err, len(d.b))
		}
		// A part of it is not taken for the whole.
		short := decoder{b: e.b[:rapid.IntRange(0, len(e.b)-1).Draw(t, "cut")]}
		if short.setup(); short.err == nil {
			t.Fatal("a part passed")
		}
	})
}

func FuzzSetup(f *testing.F) {
	s := &setup{
		Engine: policy.EngineNamespaces,
		Plan:   &plan.Plan{Dirs: []string{"/"}, Cwd: "/", Program: plan.Program{Path: "/a", Argv: []string{"a"}}},
		Filter: syscalls.Options{Engine: policy.EngineNamespaces},
	}
	e := encoder{b: []byte{1, 0, 0, 0}}
	e.setup(s)
	f.Add(e.b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, pid, err := parseSetup(b)
		if err == nil && (s.Plan == nil || pid <= 0 || s.Plan.Validate() != nil) {
			t.Errorf("%x passed", b)
		}
	})
}
