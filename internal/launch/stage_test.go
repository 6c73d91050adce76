package launch

import (
	"strings"
	"testing"
)

func TestOrders(t *testing.T) {
	for _, want := range []orders{
		{ctl: channel{6}, setup: 11, listener: 9, procfs: 12},
		{ctl: channel{6}, setup: 11, listener: 9, procfs: 12, rules: 5},
	} {
		if got, err := parseOrders(want.String()); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	for _, bad := range []string{"", "6,11,9", "6,11,9,12", "6,11,9,12,0,13", "2,11,9,12,0", "x,11,9,12,0", "6,11,-1,12,0",
		"6,11,9,99999999999,0", "6,0,9,12,0", "6,11,9,12,2"} {
		if o, err := parseOrders(bad); err == nil {
			t.Errorf("%q passed as %+v", bad, o)
		}
	}
}

func FuzzOrders(f *testing.F) {
	f.Add("6,11,9,12,5")
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

func TestReport(t *testing.T) {
	for _, want := range []report{
		{Kind: reportStarted},
		{Kind: reportExited, Status: 0xff00},
		{Kind: reportRefused, Errno: 13, Exit: 126, Unavailable: true, Message: "mount: permission denied"},
	} {
		got, err := decodeReport(want.encode())
		if err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	long := report{Kind: reportRefused, Message: strings.Repeat("x", 2*maxReport)}.encode()
	if len(long) != maxReport {
		t.Errorf("a packet of %d bytes, want at most %d", len(long), maxReport)
	}
}

func FuzzReport(f *testing.F) {
	f.Add(report{Kind: reportRefused, Errno: 1, Message: "no"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeReport(b)
		if err != nil {
			return
		}
		if again, err := decodeReport(r.encode()); err != nil || len(b) <= maxReport && again != r {
			t.Errorf("%x: %+v, then %+v, %v", b, r, again, err)
		}
	})
}
