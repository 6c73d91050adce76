package elfdeps

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// amd64 is what the tests' trees are made for, wherever they run.
var amd64 = machineOf("amd64")

// fakeELF says what an ELF file of the tests is made of.
type fakeELF struct {
	class, machine         int // 0: amd64
	interp, soname         string
	needed                 []string
	rpath, runpath         string
	noDefLib, emptyRunpath bool
}

// bytes lays the file out as one segment at address 0x1000: header, program
// headers, interpreter, strings, dynamic section.
func (f fakeELF) bytes() []byte {
	const base, phnum = 0x1000, 3
	le := binary.LittleEndian
	strs := []byte{0}
	str := func(s string) uint64 {
		off := uint64(len(strs))
		strs = append(append(strs, s...), 0)
		return off
	}
	var dyn []byte
	tag := func(t, v uint64) { dyn = le.AppendUint64(le.AppendUint64(dyn, t), v) }
	for _, n := range f.needed {
		tag(dtNeeded, str(n))
	}
	for t, s := range map[uint64]string{dtSoname: f.soname, dtRpath: f.rpath, dtRunpath: f.runpath} {
		if s != "" || t == dtRunpath && f.emptyRunpath {
			tag(t, str(s))
		}
	}
	if f.noDefLib {
		tag(dtFlags1, df1NoDefLib)
	}
	interp := append([]byte(f.interp), 0)
	interpOff := uint64(headerSize + phnum*phdrSize)
	strOff := interpOff + uint64(len(interp))
	tag(dtStrtab, base+strOff)
	tag(dtNull, 0)
	dynOff := strOff + uint64(len(strs))
	total := dynOff + uint64(len(dyn))

	h := make([]byte, headerSize)
	copy(h, "\x7fELF\x02\x01\x01")
	if f.class != 0 {
		h[4] = byte(f.class)
	}
	le.PutUint16(h[16:], etDyn)
	le.PutUint16(h[18:], amd64.elf)
	if f.machine != 0 {
		le.PutUint16(h[18:], uint16(f.machine))
	}
	le.PutUint64(h[32:], headerSize)
	le.PutUint16(h[54:], phdrSize)
	le.PutUint16(h[56:], phnum)
	ph := func(typ uint32, off, addr, size uint64) {
		b := make([]byte, phdrSize)
		le.PutUint32(b, typ)
		le.PutUint64(b[8:], off)
		le.PutUint64(b[16:], addr)
		le.PutUint64(b[32:], size)
		h = append(h, b...)
	}
	ph(ptLoad, 0, base, total)
	if f.interp != "" {
		ph(ptInterp, interpOff, base+interpOff, uint64(len(interp)))
	} else {
		ph(0, 0, 0, 0)
	}
	ph(ptDynamic, dynOff, base+dynOff, uint64(len(dyn)))
	return slices.Concat(h, interp, strs, dyn)
}

// tree is a file system of the tests: name → contents, "-> target" for a link
// and "0711" for a program that can not be read. A trailing slash is a
// directory.
type tree map[string]string

func (tr tree) Open(name string) (*Opened, error) {
	real := path.Clean(name)
	for range 40 {
		content, ok := tr[real]
		if !ok {
			if _, dir := tr[real+"/"]; dir {
				return &Opened{Mode: unix.S_IFDIR | 0o755, Real: real, Close: noClose}, nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: unix.ENOENT}
		}
		if target, link := strings.CutPrefix(content, "-> "); link {
			if !path.IsAbs(target) {
				target = path.Join(path.Dir(real), target)
			}
			real = target
			continue
		}
		o := &Opened{R: strings.NewReader(content), Mode: unix.S_IFREG | 0o755, Real: real, Close: noClose}
		if content == "0711" {
			o.R = nil
		}
		return o, nil
	}
	return nil, unix.ELOOP
}

func noClose() error { return nil }

func elf(f fakeELF) string { return string(f.bytes()) }

const ld = "/lib64/ld-linux-x86-64.so.2"

// lib is a library with needs.
func lib(needed ...string) string { return elf(fakeELF{needed: needed}) }

func prog(needed ...string) string { return elf(fakeELF{interp: ld, needed: needed}) }

func TestClosure(t *testing.T) {
	loader := elf(fakeELF{soname: "ld-linux-x86-64.so.2"})
	for _, c := range []struct {
		name string
		tree tree
		env  Env
		want []string // files after the program and, if it is there, the loader
		warn []string
	}{
		{name: "static", tree: tree{"/p": elf(fakeELF{})}},
		{name: "needed and default directories", tree: tree{
			"/p": prog("liba.so", "libc.so.6"), ld: loader,
			"/lib/x86_64-linux-gnu/libc.so.6": lib("ld-linux-x86-64.so.2"), "/usr/lib64/liba.so": lib("libb.so", "libc.so.6"), "/usr/lib/libb.so": lib(),
		}, want: []string{"/usr/lib64/liba.so", "/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/libb.so"}},
		{name: "missing library", tree: tree{"/p": prog("liba.so"), ld: loader}, warn: []string{"liba.so, needed by /p"}},
		{name: "missing loader", tree: tree{"/p": prog("liba.so")}, warn: []string{"the loader of /p"}},
		{name: "foreign library is passed over", tree: tree{
			"/p": prog("liba.so"), ld: loader, "/lib64/liba.so": elf(fakeELF{class: 1}), "/usr/lib64/liba.so": elf(fakeELF{machine: 183}), "/lib/liba.so": lib(),
		}, want: []string{"/lib/liba.so"}},
		{name: "unreadable library is passed over", tree: tree{
			"/p": prog("liba.so"), ld: loader, "/lib64/liba.so": "0711", "/usr/lib64/liba.so": lib(),
		}, want: []string{"/usr/lib64/liba.so"}},
		{name: "rpath is inherited", tree: tree{
			"/p": elf(fakeELF{interp: ld, needed: []string{"liba.so"}, rpath: "/r"}), ld: loader, "/r/liba.so": lib("libb.so"), "/r/libb.so": lib(),
		}, want: []string{"/r/liba.so", "/r/libb.so"}},
		{name: "runpath is not inherited", tree: tree{
			"/p": elf(fakeELF{interp: ld, needed: []string{"liba.so"}, runpath: "/r"}), ld: loader, "/r/liba.so": lib("libb.so"), "/r/libb.so": lib(),
		}, want: []string{"/r/liba.so"}, warn: []string{"libb.so"}},
		{name: "runpath silences rpath", tree: tree{
			"/p": elf(fakeELF{interp: ld, needed: []string{"liba.so"}, rpath: "/r", emptyRunpath: true}), ld: loader, "/r/liba.so": lib(),
		}, warn: []string{"liba.so"}},
		{name: "runpath of a library silences its ancestors' rpath", tree: tree{
			"/p": elf(fakeELF{interp: ld, needed: []string{"liba.so"}, rpath: "/r"}), ld: loader,
			"/r/liba.so": elf(fakeELF{needed: []string{"libb.so"}, runpath: "/s"}), "/r/libb.so": lib(), "/s/libb.so": lib(),
		}, want: []string{"/r/liba.so", "/s/libb.so"}},
		{name: "order: rpath, environment, runpath", tree: tree{
			"/p": elf(fakeELF{interp: ld, needed: []string{"liba.so", "libb.so"}, runpath: "/run"}), ld: loader,
			"/env/liba.so": lib(), "/run/liba.so": lib(), "/run/libb.so": lib(), "/lib64/libb.so": lib(),
		}, env: Env{LibraryPath: "/none;/env"}, want: []string{"/env/liba.so", "/run/libb.so"}},
		{name: "rpath before environment", tree: tree{
			"/p": elf(fakeELF{interp: ld, needed: []string{"liba.so"}, rpath: "/r"}), ld: loader, "/r/liba.so": lib(), "/env/liba.so": lib(),
		}, env: Env{LibraryPath: "/env"}, want: []string{"/r/liba.so"}},
		{name: "origin is where the real file lies", tree: tree{
			"/p": "-> /opt/x/bin/p", "/opt/x/bin/p": elf(fakeELF{interp: ld, needed: []string{"liba.so"}, runpath: "/none:$ORIGIN/../lib:${ORIGIN}/b"}), ld: loader, "/opt/x/lib/liba.so": lib(),
		}, want: []string{"/opt/x/bin/../lib/liba.so"}},
		{name: "origin of a library", tree: tree{
			"/p": elf(fakeELF{interp: ld, needed: []string{"/o/liba.so"}}), ld: loader, "/o/liba.so": elf(fakeELF{needed: []string{"$ORIGIN/libb.so"}}), "/o/libb.so": lib(),
		}, want: []string{"/o/liba.so", "/o/libb.so"}},
		{name: "lib and platform", tree: tree{
			"/p": elf(fakeELF{interp: ld, needed: []string{"liba.so", "libb.so"}, runpath: "/o/$LIB:/o/${PLATFORM}"}), ld: loader, "/o/lib64/liba.so": lib(), "/o/x86_64/libb.so": lib(),
		}, want: []string{"/o/lib64/liba.so", "/o/x86_64/libb.so"}},
		{name: "variants for better processors", tree: tree{
			"/p": elf(fakeELF{interp: ld, needed: []string{"liba.so"}, runpath: "/r"}), ld: loader,
			"/r/glibc-hwcaps/": "", "/r/glibc-hwcaps/x86-64-v3/liba.so": lib(), "/r/glibc-hwcaps/x86-64-v2/liba.so": lib(), "/r/liba.so": lib(),
		}, want: []string{"/r/glibc-hwcaps/x86-64-v3/liba.so", "/r/glibc-hwcaps/x86-64-v2/liba.so", "/r/liba.so"}},
		{name: "cache before default directories", tree: tree{
			"/p": prog("liba.so", "libb.so"), ld: loader, cachePath: string(fakeCache(false, [2]string{"liba.so", "/c/liba.so"}, [2]string{"libb.so", "/gone/libb.so"})),
			"/c/liba.so": lib(), "/lib64/liba.so": lib(), "/lib64/libb.so": lib(),
		}, want: []string{cachePath, "/c/liba.so", "/lib64/libb.so"}},
		{name: "no default directories", tree: tree{
			"/p": elf(fakeELF{interp: ld, needed: []string{"liba.so", "libb.so"}, noDefLib: true}), ld: loader,
			cachePath:    string(fakeCache(false, [2]string{"liba.so", "/c/liba.so"}, [2]string{"libb.so", "/lib64/libb.so"})),
			"/c/liba.so": lib(), "/lib64/libb.so": lib(),
		}, want: []string{cachePath, "/c/liba.so"}, warn: []string{"libb.so"}},
		{name: "broken cache", tree: tree{"/p": prog("liba.so"), ld: loader, cachePath: "ld.so-1.7.0 rubbish rubbish", "/lib64/liba.so": lib()},
			want: []string{cachePath, "/lib64/liba.so"}, warn: []string{"can not be understood"}},
		{name: "preload", tree: tree{"/p": prog("libc.so"), ld: loader, "/w/x.so": lib(), "/lib64/liby.so": lib(), "/lib64/libc.so": lib()},
			env: Env{Preload: "./x.so liby.so", Cwd: "/w"}, want: []string{"/w/x.so", "/lib64/liby.so", "/lib64/libc.so"}},
		{name: "a soname satisfies later needs", tree: tree{
			"/p": prog("liba.so", "libz.so.1"), ld: loader, "/lib64/liba.so": elf(fakeELF{soname: "libz.so.1"}), "/lib64/libz.so.1": lib(),
		}, want: []string{"/lib64/liba.so"}},
		{name: "unreadable program", tree: tree{"/p": "0711"}, warn: []string{"can not be read"}},
		{name: "circle", tree: tree{"/p": prog("liba.so"), ld: loader, "/lib/liba.so": lib("libb.so"), "/lib/libb.so": lib("liba.so")},
			want: []string{"/lib/liba.so", "/lib/libb.so"}},
	} {
		result, err := closureOn(amd64, "/p", c.env, c.tree)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := []string{"/p"}
		if _, ok := c.tree[ld]; ok {
			want = append(want, ld)
		}
		if diff := cmp.Diff(append(want, c.want...), paths(result)); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
		checkWarnings(t, c.name, c.warn, result.Warnings)
	}
}

func paths(r Result) []string {
	var list []string
	for _, f := range r.Files {
		list = append(list, f.Path)
	}
	return list
}

func checkWarnings(t *testing.T, name string, want, got []string) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%s: warnings %q, want %q", name, got, want)
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%s: warning %q, want %q", name, got[i], want[i])
		}
	}
}

func TestMusl(t *testing.T) {
	const ldMusl = "/lib/ld-musl-x86_64.so.1"
	p := elf(fakeELF{interp: ldMusl, needed: []string{"liba.so", "libc.musl-x86_64.so.1"}, runpath: "/r"})
	for _, c := range []struct {
		name string
		tree tree
		want []string
	}{
		{"default", tree{"/p": p, ldMusl: lib(), "/usr/local/lib/liba.so": lib()}, []string{"/p", ldMusl, "/usr/local/lib/liba.so"}},
		{"path file", tree{"/p": p, ldMusl: lib(), "/etc/ld-musl-x86_64.path": "/x\n/y\n", "/y/liba.so": lib(), "/lib/liba.so": lib()},
			[]string{"/p", ldMusl, "/etc/ld-musl-x86_64.path", "/y/liba.so"}},
		{"runpath is inherited", tree{"/p": p, ldMusl: lib(), "/r/liba.so": lib("libb.so"), "/r/libb.so": lib()}, []string{"/p", ldMusl, "/r/liba.so", "/r/libb.so"}},
	} {
		result, err := closureOn(amd64, "/p", Env{}, c.tree)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, paths(result)); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
		checkWarnings(t, c.name, nil, result.Warnings)
	}
}

func TestScripts(t *testing.T) {
	chain := func(n int) tree {
		tr := tree{"/p": "#!/s1"}
		for i := 1; i < n; i++ {
			tr["/s"+string(rune('0'+i))] = "#!/s" + string(rune('1'+i)) + "\n"
		}
		tr["/s"+string(rune('0'+n))] = elf(fakeELF{})
		return tr
	}
	static := elf(fakeELF{})
	for _, c := range []struct {
		name string
		tree tree
		env  Env
		want []string
		warn []string
		err  error
	}{
		{name: "interpreter", tree: tree{"/p": "#!/bin/sh -e\n", "/bin/sh": static}, want: []string{"/p", "/bin/sh"}},
		{name: "blanks", tree: tree{"/p": "#! \t /bin/sh\t-e \n", "/bin/sh": static}, want: []string{"/p", "/bin/sh"}},
		{name: "no newline", tree: tree{"/p": "#!/bin/sh", "/bin/sh": static}, want: []string{"/p", "/bin/sh"}},
		{name: "relative", tree: tree{"/p": "#!bin/sh\n", "/w/bin/sh": static}, env: Env{Cwd: "/w"}, want: []string{"/p", "/w/bin/sh"}},
		{name: "missing", tree: tree{"/p": "#!/bin/sh\n"}, want: []string{"/p"}, warn: []string{"/bin/sh, the #! of /p"}},
		{name: "carriage return", tree: tree{"/p": "#!/bin/sh\r\n", "/bin/sh": static}, want: []string{"/p"}, warn: []string{"/bin/sh\r"}},
		{name: "env", tree: tree{"/p": "#!/usr/bin/env python3\n", "/usr/bin/env": static, "/b/python3": static}, env: Env{Path: []string{"/a", "/b"}},
			want: []string{"/p", "/usr/bin/env", "/b/python3"}},
		{name: "env -S", tree: tree{"/p": "#!/usr/bin/env -S -i A=b -u X python3 -u\n", "/usr/bin/env": static, "/b/python3": static}, env: Env{Path: []string{"/b"}},
			want: []string{"/p", "/usr/bin/env", "/b/python3"}},
		{name: "env -vS", tree: tree{"/p": "#!/usr/bin/env -vSpython3\n", "/usr/bin/env": static, "/b/python3": static}, env: Env{Path: []string{"/b"}},
			want: []string{"/p", "/usr/bin/env", "/b/python3"}},
		{name: "env path", tree: tree{"/p": "#!/usr/bin/env /x/y\n", "/usr/bin/env": static, "/x/y": static}, want: []string{"/p", "/usr/bin/env", "/x/y"}},
		{name: "env missing", tree: tree{"/p": "#!/usr/bin/env nope\n", "/usr/bin/env": static}, env: Env{Path: []string{"/b"}},
			want: []string{"/p", "/usr/bin/env"}, warn: []string{"nope"}},
		{name: "five scripts", tree: chain(5), want: []string{"/p", "/s1", "/s2", "/s3", "/s4", "/s5"}},
		{name: "six scripts", tree: chain(6), err: ErrTooDeep},
		{name: "circle", tree: tree{"/p": "#!/p\n"}, err: ErrTooDeep},
		{name: "foreign interpreter", tree: tree{"/p": "#!/i\n", "/i": elf(fakeELF{machine: 40})}, err: ErrForeign},
		{name: "text", tree: tree{"/p": "echo hi\n"}, err: ErrFormat},
		{name: "empty", tree: tree{"/p": ""}, err: ErrFormat},
		{name: "empty line", tree: tree{"/p": "#!  \n/bin/sh"}, err: ErrFormat},
		{name: "32 bits", tree: tree{"/p": elf(fakeELF{class: 1, machine: 3})}, err: ErrForeign},
		{name: "x32", tree: tree{"/p": elf(fakeELF{class: 1})}, err: ErrForeign},
		{name: "header only", tree: tree{"/p": "\x7fELF"}, err: ErrFormat},
		{name: "directory", tree: tree{"/p/": ""}, err: unix.EACCES},
		{name: "directory as interpreter", tree: tree{"/p": "#!/etc\n", "/etc/": ""}, err: unix.EACCES},
		{name: "absent", tree: tree{}, err: unix.ENOENT},
	} {
		result, err := closureOn(amd64, "/p", c.env, c.tree)
		if c.err != nil {
			var typed *Error
			if !errors.Is(err, c.err) || !errors.As(err, &typed) {
				t.Errorf("%s: %v, want %v", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, paths(result)); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
		checkWarnings(t, c.name, c.warn, result.Warnings)
	}
}

// TestShebangLimit asks the kernel what it makes of long first lines.
func TestShebangLimit(t *testing.T) {
	dir := t.TempDir()
	deep := dir + "/" + strings.Repeat("d", 230-len(dir)-1)
	if err := os.Mkdir(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	echo, err := os.ReadFile("/bin/echo")
	if err != nil {
		t.Fatal(err)
	}
	for n := 248; n <= 258; n++ {
		interp := deep + "/" + strings.Repeat("e", n-len(deep)-1-2) // "#!" and it are n bytes
		if err := exetest.WriteFile(interp, echo, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, end := range []string{"", "\n", " ", " \n", " x", " x\n", " " + strings.Repeat("x", 300)} {
			script := filepath.Join(dir, "script")
			content := "#!" + interp + end
			if err := exetest.WriteFile(script, []byte(content), 0o755); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(script).Output()
			got, arg, ok := shebang([]byte(content[:min(len(content), headSize)]))
			if ok != (err == nil) {
				t.Errorf("%d bytes and %.8q: the kernel says %v, we say %v", n, end, err, ok)
				continue
			}
			if want := strings.TrimSpace(arg + " " + script); ok && (got != interp || strings.TrimSpace(string(out)) != want) {
				t.Errorf("%d bytes and %.8q: the kernel passes %q, we say %q", n, end, out, arg)
			}
		}
	}
}

// fakeCache is a cache with the given name and path pairs, each preceded by an
// entry of another architecture that must not count.
func fakeCache(old bool, libs ...[2]string) []byte {
	le := binary.LittleEndian
	var entries, strs []byte
	base := newHeader + 2*len(libs)*newEntry
	for _, l := range libs {
		name, foreign := base+len(strs), base+len(strs)+len(l[0])+1
		strs = append(strs, l[0]+"\x00/foreign"+l[1]+"\x00"...)
		value := base + len(strs)
		strs = append(strs, l[1]+"\x00"...)
		for _, e := range [][3]uint32{{0x0803, uint32(name), uint32(foreign)}, {amd64.cache, uint32(name), uint32(value)}} {
			entries = le.AppendUint32(le.AppendUint32(le.AppendUint32(entries, e[0]), e[1]), e[2])
			entries = append(entries, make([]byte, 12)...)
		}
	}
	h := make([]byte, newHeader)
	copy(h, newMagic)
	le.PutUint32(h[20:], uint32(2*len(libs)))
	le.PutUint32(h[24:], uint32(len(strs)))
	h[28] = 2
	data := slices.Concat(h, entries, strs)
	if !old {
		return data
	}
	prefix := append([]byte(oldMagic+"\x00"), 1, 0, 0, 0)
	prefix = append(prefix, make([]byte, oldEntry)...)
	prefix = append(prefix, make([]byte, (8-len(prefix)%8)%8)...)
	return slices.Concat(prefix, data)
}

func TestParseCache(t *testing.T) {
	for _, old := range []bool{false, true} {
		data := fakeCache(old, [2]string{"liba.so", "/l/liba.so"}, [2]string{"libb.so", "/l/libb.so"}, [2]string{"liba.so", "/l/hw/liba.so"})
		c, err := parseCache(data, amd64.cache)
		if err != nil {
			t.Fatalf("old prefix %v: %v", old, err)
		}
		for name, want := range map[string][]string{
			"liba.so": {"/l/liba.so", "/l/hw/liba.so"}, "libb.so": {"/l/libb.so"},
			"lib": nil, "libb.so.1": nil, "": nil, "libb.so\x00": nil, "libb.so\x00/foreign/l/libb.so": nil,
		} {
			if got := c.paths(name); !slices.Equal(got, want) {
				t.Errorf("old prefix %v: %q is %q, want %q", old, name, got, want)
			}
		}
		for n := range data[:newHeader] {
			if got, err := parseCache(data[:n], amd64.cache); err == nil {
				t.Errorf("%d bytes of a cache are %v", n, got)
			}
		}
	}
}

// TestAgainstLoader compares what is found for real programs with what the
// machine's loader says it would load.
func TestAgainstLoader(t *testing.T) {
	compared := 0
	for _, name := range []string{"/bin/ls", "/bin/bash", "/usr/bin/git", "/usr/bin/python3", "/usr/bin/node", "/usr/bin/gcc", "/usr/bin/perl", "/usr/bin/ssh", "/usr/bin/tmux", "/usr/bin/vim", "/usr/bin/gdb"} {
		if _, err := os.Stat(name); err != nil {
			continue
		}
		cmd := exec.Command(name)
		cmd.Env = []string{"LD_TRACE_LOADED_OBJECTS=1"}
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		result, err := Closure(name, Env{}, hostFiles{})
		if err != nil || len(result.Warnings) > 0 {
			t.Errorf("%s: %v, %q", name, err, result.Warnings)
		}
		found := paths(result)
		for line := range strings.Lines(string(out)) {
			_, rest, ok := strings.Cut(line, "=> ")
			if !ok {
				continue
			}
			want, _, _ := strings.Cut(rest, " (")
			if compared++; !slices.Contains(found, path.Clean(want)) {
				t.Errorf("%s: the loader loads %s, we found %q", name, want, found)
			}
		}
	}
	if compared < 5 {
		t.Errorf("only %d libraries compared", compared)
	}
}

// hostFiles opens names on this machine.
type hostFiles struct{}

func (hostFiles) Open(name string) (*Opened, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return &Opened{Close: f.Close, Mode: unix.S_IFDIR | 0o755, Real: real}, nil
	}
	return &Opened{R: f, Close: f.Close, Mode: unix.S_IFREG | uint32(info.Mode().Perm()), Real: real}, nil
}

func TestSetid(t *testing.T) {
	for _, c := range []struct {
		mode uint32
		want bool
	}{{0o755, false}, {0o4755, true}, {0o2755, true}, {0o2644, false}} {
		cl := closure{index: make(map[string]int)}
		cl.add("/p", Executable, "program", c.mode)
		if got := cl.result.Files[0].Setid; got != c.want {
			t.Errorf("mode %#o: %v", c.mode, got)
		}
	}
}

func FuzzClosure(f *testing.F) {
	f.Add([]byte(prog("liba.so")), []byte(lib("libb.so")), []byte(nil))
	f.Add([]byte("#!/l env\n"), []byte("#!/usr/bin/env -S x"), []byte(nil))
	f.Add([]byte(elf(fakeELF{interp: "/l", needed: []string{"$ORIGIN/l", "liba.so"}, rpath: "/:$LIB:${PLATFORM}:"})), []byte(lib("liba.so")), fakeCache(true, [2]string{"liba.so", "/l"}))
	f.Fuzz(func(t *testing.T, program, library, cache []byte) {
		tr := tree{"/p": string(program), "/l": string(library), ld: string(library), "/lib/liba.so": string(library), cachePath: string(cache), "/usr/bin/env": elf(fakeELF{})}
		result, err := closureOn(amd64, "/p", Env{Path: []string{"/"}, LibraryPath: "/", Cwd: "/"}, tr)
		var typed *Error
		if err != nil && !errors.As(err, &typed) {
			t.Errorf("untyped error %v", err)
		}
		for _, file := range result.Files {
			if !path.IsAbs(file.Path) || strings.IndexByte(file.Path, 0) >= 0 {
				t.Errorf("%q is needed", file.Path)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(prog("liba.so", "libb.so")))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := parse(bytes.NewReader(data), amd64)
		if err == nil && len(o.needed) > maxNeeded {
			t.Errorf("%d needed libraries", len(o.needed))
		}
		if err != nil && !errors.Is(err, ErrForeign) && !errors.Is(err, ErrFormat) {
			t.Errorf("untyped error %v", err)
		}
	})
}

func FuzzParseCache(f *testing.F) {
	f.Add(fakeCache(true, [2]string{"liba.so", "/l/liba.so"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _ := parseCache(data, amd64.cache)
		for _, name := range append(strings.Split(string(data), "\x00"), "liba.so", "") {
			for _, p := range c.paths(name) {
				if name == "" || !path.IsAbs(p) {
					t.Errorf("%q => %q", name, p)
				}
			}
		}
	})
}
