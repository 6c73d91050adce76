package msghdr_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/msghdr"
)

func FuzzControl(f *testing.F) {
	f.Add(unix.UnixRights(1, 2, 3))
	f.Add([]byte{16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, buf []byte) {
		total := 0
		err := msghdr.EachControl(buf, func(_, _ uint32, body []byte) error {
			total += msghdr.ControlSize + len(body)
			return nil
		})
		if total > len(buf) {
			t.Errorf("%d bytes out of %d", total, len(buf))
		}
		if err != nil && !errors.Is(err, unix.EINVAL) {
			t.Errorf("error %v", err)
		}
	})
}

func TestControlAgreesWithTheLibrary(t *testing.T) {
	buf := append(unix.UnixRights(5, 6, 7), unix.UnixRights(8)...)
	var got []int
	err := msghdr.EachControl(buf, func(level, typ uint32, body []byte) error {
		if level != unix.SOL_SOCKET || typ != unix.SCM_RIGHTS {
			t.Errorf("level %d, type %d", level, typ)
		}
		for ; len(body) >= 4; body = body[4:] {
			got = append(got, int(binary.NativeEndian.Uint32(body)))
		}
		return nil
	})
	if err != nil || !reflect.DeepEqual(got, []int{5, 6, 7, 8}) {
		t.Errorf("%v, %v", got, err)
	}
}

// ram is memory that begins at address 0x1000.
type ram []byte

func (r ram) Bytes(addr uint64, n int) ([]byte, error) {
	if addr < 0x1000 || addr-0x1000 > uint64(len(r)) || uint64(n) > uint64(len(r))-(addr-0x1000) {
		return nil, unix.EFAULT
	}
	return bytes.Clone(r[addr-0x1000:][:n]), nil
}

func words(list ...uint64) (out []byte) {
	for _, v := range list {
		out = binary.NativeEndian.AppendUint64(out, v)
	}
	return out
}

func TestHeaderAndWhatItPointsTo(t *testing.T) {
	const at, pieces, text = 0x1000, 0x1000 + msghdr.Size, 0x1000 + msghdr.Size + 32
	m := ram(append(words(text, 0xffffffff00000005, pieces, 2, text, 16, 0, text, 3, text+5, 4), "hello, world, and more"...))
	h, err := msghdr.Read(m, at)
	if err != nil {
		t.Fatal(err)
	}
	if h.Name != text || h.NameLen != 5 || h.Control != text || h.ControlLen != 16 {
		t.Errorf("header %+v", h)
	}
	list, err := h.Pieces(m)
	if want := []msghdr.Piece{{Base: text, Len: 3}, {Base: text + 5, Len: 4}}; err != nil || !reflect.DeepEqual(list, want) {
		t.Fatalf("pieces %v, %v", list, err)
	}
	if n := msghdr.Room(list); n != 7 {
		t.Errorf("room for %d bytes", n)
	}
	if data, err := msghdr.Gather(m, list, false); string(data) != "hel, wo" || err != nil {
		t.Errorf("gathered %q, %v", data, err)
	}
	if control, err := h.Controls(m); string(control) != "hello, world, an" || err != nil {
		t.Errorf("control %q, %v", control, err)
	}
}

func TestTooMuchIsRefused(t *testing.T) {
	const text = 0x1000
	long := ram(make([]byte, msghdr.MaxData+10))
	list := []msghdr.Piece{{Base: text, Len: msghdr.MaxData - 1}, {Base: text, Len: 5}}
	if _, err := msghdr.Gather(long, list, false); err != unix.EMSGSIZE {
		t.Errorf("a long datagram: %v", err)
	}
	if data, err := msghdr.Gather(long, list, true); len(data) != msghdr.MaxData || err != nil {
		t.Errorf("a long piece of a stream: %d bytes, %v", len(data), err)
	}
	for _, lens := range [][]uint64{{msghdr.MaxData, 1}, {1 << 63, 1 << 63}, {^uint64(0), 2}} {
		list := []msghdr.Piece{{Base: text, Len: lens[0]}, {Base: text, Len: lens[1]}}
		if n := msghdr.Room(list); n != msghdr.MaxData {
			t.Errorf("lengths %x: room for %d bytes", lens, n)
		}
		if _, err := msghdr.Gather(long, list, false); err != unix.EMSGSIZE {
			t.Errorf("lengths %x: %v", lens, err)
		}
	}
	for name, c := range map[string]struct {
		header []byte
		want   error
	}{
		"many pieces":  {words(0, 0, text, 1025, 0, 0, 0), unix.EMSGSIZE},
		"no pieces":    {words(0, 0, text+1<<30, 1, 0, 0, 0), unix.EFAULT},
		"long control": {words(0, 0, text, 0, text, 1<<40, 0), unix.ENOBUFS},
		"no control":   {words(0, 0, text, 0, text+1<<30, 16, 0), unix.EFAULT},
	} {
		h, err := msghdr.Read(ram(c.header), text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.Pieces(long)
		if err == nil {
			_, err = h.Controls(long)
		}
		if err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := msghdr.Read(ram(make([]byte, msghdr.Size-1)), text); err != unix.EFAULT {
		t.Errorf("a header that is cut off: %v", err)
	}
}
