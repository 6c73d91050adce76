package launch

import (
	"testing"

	"github.com/capsicum-go/capsicum/internal/policy"
)

func TestOrders(t *testing.T) {
	want := orders{ctl: channel{6}, setup: 11, link: 9, linger: true, engine: policy.EngineLandlock, state: "/tmp/a,b"}
	got, err := parseOrders(want.String())
	if err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "6,11,9", "6,11,9,true,landlock", "2,11,9,false,landlock,", "x,11,9,false,landlock,", "6,11,-1,false,landlock,", "6,11,9,false,none,", "6,11,9,false,,"} {
		if o, err := parseOrders(bad); err == nil {
			t.Errorf("%q passed as %+v", bad, o)
		}
	}
}

func FuzzOrders(f *testing.F) {
	f.Add("6,11,9,true,landlock,/tmp/x")
	f.Fuzz(func(t *testing.T, arg string) {
		o, err := parseOrders(arg)
		if err != nil {
			return
		}
		if again, err := parseOrders(o.String()); err != nil || again != o {
			t.Errorf("%q: %+v, then %+v, %v", arg, o, again, err)
		}
	})
}
