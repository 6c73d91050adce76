package elfdeps

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// fileOf makes an ELF header with segments of the given type, flags and contents.
func fileOf(segments ...segment) []byte {
	le := binary.LittleEndian
	h := make([]byte, headerSize)
	copy(h, "\x7fELF\x02\x01\x01")
	le.PutUint16(h[16:], etExec)
	le.PutUint16(h[18:], amd64.elf)
	le.PutUint64(h[32:], headerSize)
	le.PutUint16(h[54:], phdrSize)
	le.PutUint16(h[56:], uint16(len(segments)))
	off := uint64(headerSize + phdrSize*len(segments))
	var body []byte
	for _, s := range segments {
		ph := make([]byte, phdrSize)
		le.PutUint32(ph, s.typ)
		le.PutUint32(ph[4:], s.flags)
		le.PutUint64(ph[8:], off+uint64(len(body)))
		le.PutUint64(ph[32:], uint64(len(s.text))+s.lie)
		h = append(h, ph...)
		body = append(body, s.text...)
	}
	return append(h, body...)
}

type segment struct {
	typ, flags uint32
	text       string
	lie        uint64 // how much longer it says it is
}

func noteOf(owner string) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(owner)+1))
	b = binary.LittleEndian.AppendUint32(b, 4)
	b = append(binary.LittleEndian.AppendUint32(b, 1), owner...)
	for b = append(b, 0); len(b)%4 != 0; {
		b = append(b, 0)
	}
	return string(append(b, "desc"...))
}

// infoOf is the build information of a Go program.
func infoOf(modules string) string {
	b := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	for _, s := range []string{"go1.26", modules} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return string(b)
}

func TestLibraryIsFound(t *testing.T) {
	goes := segment{typ: ptNote, text: noteOf("Go")}
	with := infoOf("path\tx\ndep\tgithub.com/capsicum-go/capsicum\tv1.0.0\n")
	for name, c := range map[string]struct {
		file []byte
		want bool
	}{
		"nothing":               {fileOf(), false},
		"its note":              {fileOf(segment{typ: ptNote, text: noteOf("Capsicum")}), true},
		"its note as second":    {fileOf(segment{typ: ptNote, text: noteOf("GNU") + noteOf("Capsicum")}), true},
		"its note elsewhere":    {fileOf(goes, segment{typ: ptNote, text: noteOf("Capsicum")}), true},
		"another's note":        {fileOf(segment{typ: ptNote, text: noteOf("Capsicums")}), false},
		"no note":               {fileOf(segment{typ: ptLoad, text: noteOf("Capsicum")}), false},
		"a note cut off":        {fileOf(segment{typ: ptNote, text: noteOf("Capsicum")[:14]}), false},
		"a note beyond its end": {fileOf(segment{typ: ptNote, text: noteOf("Capsicum"), lie: 100}), false},
		"its module":            {fileOf(goes, segment{ptLoad, pfW, with, 0}), true},
		"its module, read-only": {fileOf(goes, segment{ptLoad, 4, with, 0}), false},
		"its module, no note":   {fileOf(segment{ptLoad, pfW, with, 0}), false},
		"another module": {fileOf(goes, segment{ptLoad, pfW,
			infoOf("dep\tgithub.com/capsicum-go/capsicums\tv1.0.0\n"), 0}), false},
		"modules cut off": {fileOf(goes, segment{ptLoad, pfW, with[:60], 0}), false},
		"huge numbers":    {fileOf(goes, segment{ptLoad, pfW, with[:32] + strings.Repeat("\xff", 20), 0}), false},
	} {
		img, headers, err := open(strings.NewReader(string(c.file)), amd64)
		if name == "nothing" {
			if err == nil {
				t.Errorf("%s: no program headers and no error", name)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := img.hasLibrary(headers); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for name, want := range map[string]bool{"libcapsicum.so": true, "libcapsicum.so.1": true, "libcapsicumx.so.1": false, "libc.so.6": false, "": false} {
		if got := (&object{soname: name}).isLibrary(); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

// TestLibraryInRealPrograms builds programs with and without the package in each way
// that the linker lays out build information.
func TestLibraryInRealPrograms(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		pkg  string
		want bool
	}{{"../../cmd/capsicum", true}, {"cmd/pack", false}} {
		for _, mode := range []string{"exe", "pie"} {
			exe := filepath.Join(dir, "program")
			cmd := exec.Command("go", "build", "-buildmode="+mode, "-o", exe, c.pkg)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", cmd, err, out)
			}
			f, err := os.Open(exe)
			if err != nil {
				t.Fatal(err)
			}
			img, headers, err := open(f, machineOf(runtime.GOARCH))
			if err != nil {
				t.Fatal(err)
			}
			if got := img.hasLibrary(headers); got != c.want {
				t.Errorf("%s, %s: %v, want %v", c.pkg, mode, got, c.want)
			}
			f.Close()
		}
	}
}
