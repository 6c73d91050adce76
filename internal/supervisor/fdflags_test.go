package supervisor

import (
	"os"
	"strconv"
	"testing"

	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

func TestParseInfo(t *testing.T) {
	const good = "pos:\t0\nflags:\t0100002\nmnt_id:\t31\nino:\t77\nflags:\t0\nmnt_id:\t1\n"
	info, err := parseInfo([]byte(good))
	if want := (fdInfo{flags: 0o100002, mount: "31", inode: "77"}); err != nil || info != want {
		t.Errorf("got %+v, %v, want %+v", info, err, want)
	}
	for _, bad := range []string{
		"", "pos:\t0\n", "flags:\t02\nino:\t7\n", "flags:\t02\nmnt_id:\t7\n", "mnt_id:\t7\nino:\t7\n",
		"flags:\t9\nmnt_id:\t7\nino:\t7\n", "flags:\t-1\nmnt_id:\t7\nino:\t7\n", "flags:\t777777777777\nmnt_id:\t7\nino:\t7\n",
	} {
		if info, err := parseInfo([]byte(bad)); err == nil {
			t.Errorf("%q gives %+v", bad, info)
		}
	}
}

func FuzzParseInfo(f *testing.F) {
	f.Add([]byte("flags:\t0100002\nmnt_id:\t31\nino:\t77\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		info, err := parseInfo(text)
		if err == nil && (info.flags < 0 || info.mount == "" || info.inode == "") {
			t.Errorf("%+v", info)
		}
	})
}

// TestInfoFlags is what holds where descriptors cannot be copied: the flags of
// another file that came under the number meanwhile are nobody's.
func TestInfoFlags(t *testing.T) {
	dir := t.TempDir()
	open := func(name string, flags int) int {
		t.Helper()
		fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	if err := os.WriteFile(dir+"/a", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	proc := sys.NewFD(open("/proc", unix.O_PATH))
	num := open(dir+"/a", unix.O_RDONLY)
	object := open("/proc/self/fd/"+strconv.Itoa(num), unix.O_PATH)
	flags, err := infoFlags(proc, "self", int32(num), object)
	if err != nil || flags&unix.O_PATH != 0 || accessOf(flags).write {
		t.Errorf("flags %#o, %v", flags, err)
	}
	// On btrfs nobody knows; then neither is said.
	var fs unix.Statfs_t
	if err := unix.Fstatfs(object, &fs); err != nil {
		t.Fatal(err)
	}
	if got, want := accessOf(flags).read, fs.Type != unix.BTRFS_SUPER_MAGIC; got != want {
		t.Errorf("readable %v, want %v", got, want)
	}
	memory, err := unix.MemfdCreate("other", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(memory) })
	for _, other := range []int{open(dir+"/b", unix.O_RDWR|unix.O_CREAT), memory} {
		if err := unix.Dup3(other, num, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		if flags, err := infoFlags(proc, "self", int32(num), object); err != unix.EBADF {
			t.Errorf("another file: flags %#o, %v, want EBADF", flags, err)
		}
	}
	if flags, err := infoFlags(proc, "self", 4000, object); err != unix.EBADF {
		t.Errorf("no file: flags %#o, %v, want EBADF", flags, err)
	}
	if a := accessOf(unix.O_PATH | unix.O_RDWR); a.read || a.write {
		t.Errorf("O_PATH gives %+v", a)
	}
}
