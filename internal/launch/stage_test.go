package launch

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum/internal/sys"
)

// TestWatch: what comes with a report is kept if it is the socket asked on, and closed
// otherwise.
func TestWatch(t *testing.T) {
	front, stage, err := newChannel()
	if err != nil {
		t.Fatal(err)
	}
	defer stage.close()
	send := func(kind reportKind) *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(front.send(report{Kind: kind}, int(w.Fd())), w.Close()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	dropped, kept := send(reportReady), send(reportAsked)
	front.close()
	sb := &sandbox{orders: orders{ctl: stage}, asked: make(chan *sys.FD, 1)}
	sb.lingering.Store(true) // the front's end does not end this process
	sb.watch()
	open := func(r *os.File) bool {
		_ = r.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := r.Read(make([]byte, 1))
		return errors.Is(err, os.ErrDeadlineExceeded)
	}
	if open(dropped) {
		t.Error("what came with another report is open")
	}
	if !open(kept) {
		t.Error("the socket is closed")
	}
	(<-sb.asked).Close()
}

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
