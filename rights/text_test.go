package rights

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		list string
		want Set
		text string // as it prints
	}{
		{"", Set{}, "none"},
		{" ", Set{}, "none"},
		{"none", Set{}, "none"},
		{"CAP_NONE", Set{}, "none"},
		{"all", All(), "all"},
		{"CAP_ALL", All(), "all"},
		{"read,seek,mmap_r", Of(MmapR), "mmap_r"},
		{"read", Of(Read), "read"},
		{"CAP_READ", Of(Read), "read"},
		{"recv,send,poll_event", Of(Read, Write, Event), "read,write,event"},
		{" read , CAP_FSTAT ", Of(Read, Fstat), "read,fstat"},
		{"event,lookup,read,read", Of(Read, Lookup, Event), "read,lookup,event"},
		{"seek,read,write", Of(Pread, Pwrite), "pread,pwrite"},
		{"sock_client,seek", Of(SockClient, Seek), "pread,sock_client"},
		{"lookup,fchmod,renameat_source", Of(Fchmodat, RenameatSource), "fchmodat,renameat_source"},
		{"mkdirat,-lookup", Of(Mkdirat).Minus(Of(Lookup)), "mkdirat,-lookup"},
		{"mmap_rwx,-seek", Of(MmapRWX).Minus(Of(Seek)), "mmap_x,-seek,read,write"},
		{"pread,-CAP_SEEK", Of(Read), "read"},
		{"mmap_x,-seek,seek_tell", Of(Mmap, SeekTell).Union(Of(MmapX).Minus(Of(Mmap, Seek))), "mmap_x,-seek,seek_tell"},
		{"all,-ioctl", All().Minus(Of(Ioctl)), "all,-ioctl"},
		{"all,-kqueue_event,-kqueue_change", All().Minus(Of(Kqueue)), "all,-kqueue"},
		{"all,-mkdirat,lookup", All().Minus(Of(Mkdirat)).Union(Of(Lookup)), "all,-mkdirat,lookup"},
		{"all,-all,read", Of(Read), "read"},
		{"-read,read", Of(Read), "read"},
	} {
		s, err := Parse(test.list)
		if err != nil || s != test.want {
			t.Errorf("Parse(%q) = %v, %v, want %v", test.list, s, err, test.want)
		}
		if got := s.String(); got != test.text {
			t.Errorf("%q prints as %q, want %q", test.list, got, test.text)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, test := range []struct{ list, want string }{
		{"raed", `parse rights: unknown right "raed" (did you mean "read"?)`},
		{"read,,write", "parse rights: empty name in list"},
		{"read,", "parse rights: empty name in list"},
		{",", "parse rights: empty name in list"},
		{"read,-", "parse rights: empty name in list"},
		{"READ", `(did you mean "read"?)`},
		{"cap_read", `(did you mean "read"?)`},
		{"CAP_read", `(did you mean "read"?)`},
		{"Cap_Fstat", `(did you mean "fstat"?)`},
		{"read write", `unknown right "read write"`},
		{"--read", `unknown right "-read"`},
		{"0x0200000000000001", "unknown right"},
		{"mmap-rw", `(did you mean "mmap_rw"?)`},
		{"chmod", `(did you mean "fchmod"?)`},
		{"rename", `(did you mean "renameat_source"?)`},
		{"wirte", `(did you mean "write"?)`},
		{"kevent", `(did you mean "event"?)`},
	} {
		s, err := Parse(test.list)
		if err == nil || !s.IsEmpty() || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Parse(%q) = %v, %v, want an error with %s", test.list, s, err, test.want)
		}
	}
	var unknown *NameError
	if _, err := Parse("fstat,wrote"); !errors.As(err, &unknown) || unknown.Name != "wrote" || unknown.Nearest != "write" {
		t.Errorf("the error says %+v", unknown)
	}
}

// A hostile name costs little and does not fill the terminal.
func TestLongName(t *testing.T) {
	_, err := Parse(strings.Repeat("\x1b[2J", 1<<18))
	if err == nil || len(err.Error()) > 400 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("the error is %.500q", err)
	}
}

func TestRightString(t *testing.T) {
	for r, want := range map[Right]string{
		MmapRW:                      "mmap_rw",
		Fstat | Fsync:               "fsync,fstat",
		Kqueue:                      "kqueue",
		SemPost | SemWait:           "sem_post,sem_wait",
		word0:                       "none",
		Mkdirat &^ (Lookup - word0): "mkdirat,-lookup",
	} {
		if got := r.String(); got != want {
			t.Errorf("%#x prints as %q, want %q", uint64(r), got, want)
		}
	}
}

func TestPrintThenParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySet(t, "set")
		again, err := Parse(s.String())
		if err != nil || again != s {
			t.Errorf("%v (%#x) parses back as %v (%#x), %v", s, s.Words(), again, again.Words(), err)
		}
		elements := strings.Split(s.String(), ",")
		for i := range elements {
			shorter := strings.Join(slices.Delete(slices.Clone(elements), i, i+1), ",")
			if again, err := Parse(shorter); err != nil || again == s && !s.IsEmpty() {
				t.Errorf("%v is longer than %q, %v", s, shorter, err)
			}
		}
	})
}

// Every subset of the bits that composites tangle prints and parses back, alone
// and taken out of everything.
func TestPrintThenParseExhaustive(t *testing.T) {
	tangled := []Right{
		Read, Write, SeekTell, word0 | 0x8, Mmap, word0 | 0x20, Lookup, Fstat, Mkdirat &^ (Lookup - word0),
		KqueueEvent, KqueueChange,
	}
	for chosen := range 1 << len(tangled) {
		var s Set
		for i, r := range tangled {
			if chosen>>i&1 != 0 {
				s.Set(r)
			}
		}
		for _, s := range []Set{s, All().Minus(s)} {
			if again, err := Parse(s.String()); err != nil || again != s {
				t.Errorf("%#x prints as %q, which parses as %#x, %v", s.Words(), s, again.Words(), err)
			}
		}
	}
}

func TestJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type holder struct {
			Rights Set            `json:"rights"`
			Limit  *Set           `json:"limit"`
			By     map[string]Set `json:"by"`
		}
		s := anySet(t, "set")
		text, err := json.Marshal(holder{s, &s, map[string]Set{"x": s}})
		if err != nil {
			t.Fatal(err)
		}
		var back holder
		if err := json.Unmarshal(text, &back); err != nil || back.Rights != s || *back.Limit != s || back.By["x"] != s {
			t.Errorf("%s came back as %v, %v", text, back, err)
		}
	})
}

// A failed UnmarshalText leaves the set as it was.
func TestUnmarshalError(t *testing.T) {
	s := Of(Read)
	if err := s.UnmarshalText([]byte("write,nonsense")); err == nil || s != Of(Read) {
		t.Errorf("%v, %v", s, err)
	}
}

func BenchmarkString(b *testing.B) {
	for name, s := range map[string]Set{"few": Of(Read, Fstat, Seek, Lookup), "many": All().Minus(Of(Seek, Mkdirat))} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_ = s.String()
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "all", "none", "read,seek,mmap_r", "CAP_READ, CAP_WRITE", "all,-ioctl", "-", ",", "mkdirat,-lookup",
		"raed", "CAP_", "cap_read", strings.Repeat("\xff", 40), "sock_client,sock_server,seek",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		s, err := Parse(list)
		if err != nil {
			if !s.IsEmpty() {
				t.Fatalf("Parse(%q) failed and gave %v", list, s)
			}
			var unknown *NameError
			if errors.As(err, &unknown) {
				if _, err := ParseRight(unknown.Nearest); err != nil {
					t.Fatalf("Parse(%q) suggests %q, which does not parse", list, unknown.Nearest)
				}
			}
			return
		}
		if !s.IsValid() {
			t.Fatalf("Parse(%q) gave the invalid %v", list, s)
		}
		if again, err := Parse(s.String()); err != nil || again != s {
			t.Fatalf("Parse(%q) prints as %q, which parses as %v, %v", list, s, again, err)
		}
	})
}
