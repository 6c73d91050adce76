package rights

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func TestForTable(t *testing.T) {
	seen := map[string]bool{}
	args := []string{"fd", "dir", "olddir", "newdir", "socket", "in", "out", "target"}
	for _, op := range operations() {
		for call := range strings.FieldsSeq(op.calls) {
			if seen[call] {
				t.Errorf("%s has two rows", call)
			}
			seen[call] = true
		}
		for _, need := range op.needs {
			if !slices.Contains(args, need.Arg) {
				t.Errorf("%s: unknown argument %q", op.calls, need.Arg)
			}
			if need.Rights.IsEmpty() || !need.Rights.IsValid() {
				t.Errorf("%s: needs %v of %s", op.calls, need.Rights, need.Arg)
			}
		}
	}
	ops := Ops()
	if !slices.IsSorted(ops) || len(ops) != len(seen) {
		t.Errorf("Ops has %d names for %d calls, or is not sorted", len(ops), len(seen))
	}
	for _, op := range ops {
		if _, ok := For(op); !ok {
			t.Errorf("For does not know %s", op)
		}
	}
}

func TestFor(t *testing.T) {
	for op, want := range map[string][]Need{
		"read":      {{"fd", Of(Read), ""}},
		"close":     nil,
		"mkdirat":   {{"dir", Of(Mkdirat), ""}},
		"rmdir":     {{"dir", Of(Unlinkat), ""}},
		"connectat": {{"dir", Of(Connectat), ""}, {"socket", Of(Connect), ""}},
		"epoll_ctl": {{"fd", Of(KqueueChange), ""}, {"target", Of(Event), ""}},
		"linkat":    {{"olddir", Of(LinkatSource), ""}, {"newdir", Of(LinkatTarget), ""}},
	} {
		if got, ok := For(op); !ok || !slices.Equal(got, want) {
			t.Errorf("For(%q) = %v, %v, want %v", op, got, ok, want)
		}
	}
	if got, ok := For("reboot"); ok || got != nil {
		t.Errorf("For of an unknown call = %v, %v", got, ok)
	}
}

// Every right is asked for by some operation, but for those named here.
func TestEveryRightIsNeeded(t *testing.T) {
	var needed Set
	for _, op := range operations() {
		for _, need := range op.needs {
			needed.Merge(need.Rights)
		}
	}
	want := Of(Fsck, Ttyhook)
	if got := All().Minus(needed); got != want {
		t.Errorf("no operation needs %v, want %v", got, want)
	}
}

// sum adds up the needs of an argument whose conditions hold. A condition that
// the test does not know fails it, so table and code can not drift apart.
func sum(t *testing.T, op, arg string, holds map[string]bool) Set {
	t.Helper()
	needs, ok := For(op)
	if !ok {
		t.Fatalf("no row for %s", op)
	}
	var s Set
	for _, need := range needs {
		if need.Arg != arg {
			continue
		}
		yes, known := holds[need.When]
		if !known && need.When != "" {
			t.Fatalf("%s: unknown condition %q", op, need.When)
		}
		if yes || need.When == "" {
			s.Merge(need.Rights)
		}
	}
	return s
}

// each calls f with every combination of n booleans.
func each(n int, f func(b []bool)) {
	for v := range 1 << n {
		b := make([]bool, n)
		for i := range b {
			b[i] = v>>i&1 != 0
		}
		f(b)
	}
}

func TestForOpenMatchesTable(t *testing.T) {
	each(10, func(b []bool) {
		m := OpenMode{b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9]}
		want := sum(t, "openat", "dir", map[string]bool{
			"O_RDONLY, O_RDWR, or O_PATH, without O_EXEC":                      (m.Read || m.Path) && !m.Exec,
			"O_WRONLY or O_RDWR, without O_EXEC and O_PATH":                    m.Write && !m.Exec && !m.Path,
			"O_WRONLY or O_RDWR, without O_EXEC, O_PATH, O_APPEND and O_TRUNC": m.Write && !m.Exec && !m.Path && !m.Append && !m.Truncate,
			"O_CREAT or O_TMPFILE":                                             m.Create || m.Tmpfile,
			"O_TRUNC":                                                          m.Truncate,
			"O_SYNC or O_DSYNC":                                                m.Sync,
			"O_SHLOCK or O_EXLOCK":                                             m.Lock,
			"O_EXEC or O_SEARCH":                                               m.Exec,
		})
		if got := ForOpen(m); got != want {
			t.Errorf("ForOpen(%+v) = %v, the table says %v", m, got, want)
		}
	})
}

func TestForOpen(t *testing.T) {
	for _, test := range []struct {
		mode OpenMode
		want string
	}{
		{OpenMode{}, "lookup"},
		{OpenMode{Read: true}, "read,lookup"},
		{OpenMode{Write: true}, "write,seek,lookup"},
		{OpenMode{Write: true, Append: true}, "write,lookup"},
		{OpenMode{Write: true, Truncate: true, Create: true}, "write,create,ftruncate,lookup"},
		{OpenMode{Read: true, Write: true}, "read,write,seek,lookup"},
		{OpenMode{Read: true, Truncate: true}, "read,ftruncate,lookup"},
		{OpenMode{Read: true, Exec: true}, "fexecve,lookup"},
		{OpenMode{Path: true}, "read,lookup"},
		{OpenMode{Path: true, Exec: true}, "fexecve,lookup"},
		{OpenMode{Read: true, Write: true, Tmpfile: true}, "read,write,seek,create,lookup"},
	} {
		want, err := Parse(test.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := ForOpen(test.mode); got != want {
			t.Errorf("ForOpen(%+v) = %v, want %v", test.mode, got, want)
		}
	}
}

func TestForMmapMatchesTable(t *testing.T) {
	each(4, func(b []bool) {
		want := sum(t, "mmap", "fd", map[string]bool{
			"not MAP_ANONYMOUS":         true,
			"PROT_READ":                 b[0],
			"PROT_WRITE and MAP_SHARED": b[1] && b[3],
			"PROT_EXEC":                 b[2],
		})
		if got := ForMmap(b[0], b[1], b[2], b[3]); got != want {
			t.Errorf("ForMmap(%v) = %v, the table says %v", b, got, want)
		}
	})
	if got := ForMmap(true, true, false, false); got != Of(MmapR) {
		t.Errorf("a private writable mapping needs %v", got)
	}
	if got := ForMmap(true, true, true, true); got != Of(MmapRWX) {
		t.Errorf("a shared mapping with every protection needs %v", got)
	}
}

func TestForRenameMatchesTable(t *testing.T) {
	each(4, func(b []bool) {
		m := RenameMode{TargetAbsent: b[0], NoReplace: b[1], Exchange: b[2], Whiteout: b[3]}
		holds := map[string]bool{
			"the new name exists": !m.TargetAbsent,
			"the new name exists and RENAME_NOREPLACE is not set": !m.TargetAbsent && !m.NoReplace,
			"RENAME_EXCHANGE": m.Exchange,
			"RENAME_WHITEOUT": m.Whiteout,
		}
		olddir, newdir := ForRename(m)
		if want := sum(t, "renameat2", "olddir", holds); olddir != want {
			t.Errorf("ForRename(%+v): old %v, the table says %v", m, olddir, want)
		}
		if want := sum(t, "renameat2", "newdir", holds); newdir != want {
			t.Errorf("ForRename(%+v): new %v, the table says %v", m, newdir, want)
		}
		if m == (RenameMode{TargetAbsent: b[0]}) && newdir != sum(t, "renameat", "newdir", holds) {
			t.Errorf("renameat and renameat2 without flags differ")
		}
	})
	if _, newdir := ForRename(RenameMode{}); !newdir.IsSet(Unlinkat) {
		t.Error("a rename that may replace does not need unlinkat")
	}
}

func TestForMknodMatchesTable(t *testing.T) {
	for mode, condition := range map[fs.FileMode]string{
		0o644:                    "a regular file",
		fs.ModeNamedPipe | 0o600: "a FIFO",
		fs.ModeSocket:            "a socket",
		fs.ModeDevice:            "a device",
		fs.ModeDevice | fs.ModeCharDevice | 0o666: "a device",
		fs.ModeIrregular: "a device",
	} {
		holds := map[string]bool{"a regular file": false, "a FIFO": false, "a socket": false, "a device": false}
		holds[condition] = true
		if got, want := ForMknod(mode), sum(t, "mknodat", "dir", holds); got != want {
			t.Errorf("ForMknod(%v) = %v, the table says %v", mode, got, want)
		}
	}
}

func TestForTransfersMatchTable(t *testing.T) {
	each(4, func(b []bool) {
		in, out := ForCopy(b[0], b[1])
		if want := sum(t, "splice", "in", map[string]bool{"its offset is given": b[0]}); in != want {
			t.Errorf("ForCopy(%v): in %v, the table says %v", b, in, want)
		}
		if want := sum(t, "splice", "out", map[string]bool{"its offset is given": b[1]}); out != want {
			t.Errorf("ForCopy(%v): out %v, the table says %v", b, out, want)
		}
		if got, want := ForSend(b[0]), sum(t, "sendmsg", "socket", map[string]bool{"an address is given": b[0]}); got != want {
			t.Errorf("ForSend(%v) = %v, the table says %v", b[0], got, want)
		}
		want := sum(t, "pwritev2", "fd", map[string]bool{
			"the offset is not -1 and RWF_APPEND is not set":                      b[0] && !b[1],
			"RWF_SYNC or RWF_DSYNC":                                               b[2],
			"RWF_NOAPPEND, or a flag that is not known to leave the offset alone": b[3],
		})
		if got := ForWrite(WriteMode{b[0], b[1], b[2], b[3]}); got != want {
			t.Errorf("ForWrite(%v) = %v, the table says %v", b, got, want)
		}
	})
}
