package rights

import (
	"go/ast"
	"go/parser"
	"go/token"
	"math/bits"
	"slices"
	"strings"
	"testing"
)

// reference is sys/sys/capsicum.h restated: the full value of every constant.
var reference = map[string]Right{
	"CAP_READ": 0x0200000000000001, "CAP_WRITE": 0x0200000000000002,
	"CAP_SEEK_TELL": 0x0200000000000004, "CAP_SEEK": 0x020000000000000c,
	"CAP_PREAD": 0x020000000000000d, "CAP_PWRITE": 0x020000000000000e,
	"CAP_MMAP": 0x0200000000000010, "CAP_MMAP_R": 0x020000000000001d,
	"CAP_MMAP_W": 0x020000000000001e, "CAP_MMAP_X": 0x020000000000003c,
	"CAP_MMAP_RW": 0x020000000000001f, "CAP_MMAP_RX": 0x020000000000003d,
	"CAP_MMAP_WX": 0x020000000000003e, "CAP_MMAP_RWX": 0x020000000000003f,
	"CAP_CREATE": 0x0200000000000040, "CAP_FEXECVE": 0x0200000000000080,
	"CAP_FSYNC": 0x0200000000000100, "CAP_FTRUNCATE": 0x0200000000000200,
	"CAP_LOOKUP": 0x0200000000000400, "CAP_FCHDIR": 0x0200000000000800,
	"CAP_FCHFLAGS": 0x0200000000001000, "CAP_CHFLAGSAT": 0x0200000000001400,
	"CAP_FCHMOD": 0x0200000000002000, "CAP_FCHMODAT": 0x0200000000002400,
	"CAP_FCHOWN": 0x0200000000004000, "CAP_FCHOWNAT": 0x0200000000004400,
	"CAP_FCNTL": 0x0200000000008000, "CAP_FLOCK": 0x0200000000010000,
	"CAP_FPATHCONF": 0x0200000000020000, "CAP_FSCK": 0x0200000000040000,
	"CAP_FSTAT": 0x0200000000080000, "CAP_FSTATAT": 0x0200000000080400,
	"CAP_FSTATFS": 0x0200000000100000, "CAP_FUTIMES": 0x0200000000200000,
	"CAP_FUTIMESAT": 0x0200000000200400, "CAP_LINKAT_TARGET": 0x0200000000400400,
	"CAP_MKDIRAT": 0x0200000000800400, "CAP_MKFIFOAT": 0x0200000001000400,
	"CAP_MKNODAT": 0x0200000002000400, "CAP_RENAMEAT_SOURCE": 0x0200000004000400,
	"CAP_SYMLINKAT": 0x0200000008000400, "CAP_UNLINKAT": 0x0200000010000400,
	"CAP_ACCEPT": 0x0200000020000000, "CAP_BIND": 0x0200000040000000,
	"CAP_CONNECT": 0x0200000080000000, "CAP_GETPEERNAME": 0x0200000100000000,
	"CAP_GETSOCKNAME": 0x0200000200000000, "CAP_GETSOCKOPT": 0x0200000400000000,
	"CAP_LISTEN": 0x0200000800000000, "CAP_PEELOFF": 0x0200001000000000,
	"CAP_SETSOCKOPT": 0x0200002000000000, "CAP_SHUTDOWN": 0x0200004000000000,
	"CAP_BINDAT": 0x0200008000000400, "CAP_CONNECTAT": 0x0200010000000400,
	"CAP_LINKAT_SOURCE": 0x0200020000000400, "CAP_RENAMEAT_TARGET": 0x0200040000000400,
	"CAP_FCHROOT":     0x0200080000000000,
	"CAP_SOCK_CLIENT": 0x0200007780000003, "CAP_SOCK_SERVER": 0x0200007f60000003,
	"CAP_MAC_GET": 0x0400000000000001, "CAP_MAC_SET": 0x0400000000000002,
	"CAP_SEM_GETVALUE": 0x0400000000000004, "CAP_SEM_POST": 0x0400000000000008,
	"CAP_SEM_WAIT": 0x0400000000000010, "CAP_EVENT": 0x0400000000000020,
	"CAP_KQUEUE_EVENT": 0x0400000000000040, "CAP_IOCTL": 0x0400000000000080,
	"CAP_TTYHOOK": 0x0400000000000100, "CAP_PDGETPID": 0x0400000000000200,
	"CAP_PDWAIT": 0x0400000000000400, "CAP_PDKILL": 0x0400000000000800,
	"CAP_EXTATTR_DELETE": 0x0400000000001000, "CAP_EXTATTR_GET": 0x0400000000002000,
	"CAP_EXTATTR_LIST": 0x0400000000004000, "CAP_EXTATTR_SET": 0x0400000000008000,
	"CAP_ACL_CHECK": 0x0400000000010000, "CAP_ACL_DELETE": 0x0400000000020000,
	"CAP_ACL_GET": 0x0400000000040000, "CAP_ACL_SET": 0x0400000000080000,
	"CAP_KQUEUE_CHANGE": 0x0400000000100000, "CAP_KQUEUE": 0x0400000000100040,
	"CAP_INOTIFY_ADD": 0x0400000000200000, "CAP_INOTIFY_RM": 0x0400000000400000,
	"CAP_PDDUPFD": 0x0400000000800000,
}

func TestTableMatchesReference(t *testing.T) {
	infos := Table()
	if len(infos) != len(reference) {
		t.Errorf("the table has %d rights, the reference %d", len(infos), len(reference))
	}
	for _, info := range infos {
		if want, ok := reference[info.CName]; !ok || info.Value != want {
			t.Errorf("%s = %#x, want %#x", info.CName, uint64(info.Value), uint64(want))
		}
		if parsed, err := ParseRight(info.CName); err != nil || parsed != info.Value {
			t.Errorf("ParseRight(%q) = %v, %v", info.CName, parsed, err)
		}
	}
	for alias, want := range map[Right]Right{Recv: Read, Send: Write, PollEvent: Event} {
		if alias != want {
			t.Errorf("alias %#x, want %#x", uint64(alias), uint64(want))
		}
	}
}

// A right is its components and at most one bit of its own, and every bit is
// some right's own.
func TestTableComponents(t *testing.T) {
	var owned Set
	for _, info := range Table() {
		parts := Of(info.Components...)
		if !Of(info.Value).Contains(parts) {
			t.Errorf("%s does not contain its components %v", info.Name, info.Components)
		}
		own := Of(info.Value).Minus(parts)
		if bits.OnesCount64(own.words[0])+bits.OnesCount64(own.words[1]) > 1 {
			t.Errorf("%s has several bits of its own: %v", info.Name, own)
		}
		if own.Minus(owned) != own {
			t.Errorf("%s shares its own bit with another right", info.Name)
		}
		owned.Merge(own)
	}
	if owned != All() {
		t.Errorf("own bits make up %v, want all", owned)
	}
}

func TestAllOf(t *testing.T) {
	for _, test := range []struct {
		version int
		want    [2]uint64
	}{
		{13, [2]uint64{0x020007FFFFFFFFFF, 0x04000000001FFFFF}},
		{14, [2]uint64{0x020007FFFFFFFFFF, 0x04000000001FFFFF}},
		{15, [2]uint64{0x02000FFFFFFFFFFF, 0x04000000007FFFFF}},
		{16, [2]uint64{0x02000FFFFFFFFFFF, 0x0400000000FFFFFF}},
		{99, [2]uint64{0x02000FFFFFFFFFFF, 0x0400000000FFFFFF}},
	} {
		if got := AllOf(test.version).Words(); got != test.want {
			t.Errorf("AllOf(%d) = %#x, want %#x", test.version, got, test.want)
		}
	}
	if All() != AllOf(16) {
		t.Error("All differs from the newest AllOf")
	}
}

// The comment of a constant, its C name and the table say one and the same, so
// that searching the documentation for CAP_MMAP_R finds it.
func TestConstantComments(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "right.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && spec.Doc != nil {
			comments[spec.Names[0].Name] = strings.Join(strings.Fields(spec.Doc.Text()), " ")
		}
		return true
	})
	for _, info := range Table() {
		name := goName(info.Name)
		want := name + " (" + info.CName + ") permits " + info.Doc + "."
		if comments[name] != want {
			t.Errorf("comment of %s:\n%s\nwant:\n%s", name, comments[name], want)
		}
		for _, alias := range info.Aliases {
			name := goName(alias)
			if want := name + " (" + cName(alias) + ") permits "; !strings.HasPrefix(comments[name], want) {
				t.Errorf("comment of %s is %q, want it to begin %q", name, comments[name], want)
			}
		}
	}
}

// goName turns "mmap_rw" into "MmapRW", as the constants are spelled.
func goName(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words {
		if i > 0 && strings.Trim(w, "rwx") == "" {
			words[i] = strings.ToUpper(w)
			continue
		}
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// A caller that changes what it was given must not change the table.
func TestTablesAreCopies(t *testing.T) {
	i := slices.IndexFunc(Table(), func(x Info) bool { return x.Value == Pread })
	Table()[i].Components[0] = Write
	if got := Table()[i].Components[0]; got != Read {
		t.Errorf("the table now says pread is made of %v", got)
	}
	needs, _ := For("read")
	needs[0].Rights = Set{}
	if again, _ := For("read"); again[0].Rights != Of(Read) {
		t.Errorf("the table now says read needs %v", again[0].Rights)
	}
}
