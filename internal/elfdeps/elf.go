package elfdeps

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
)

// Reasons why a file can not be executed here, matched by errors.Is.
var (
	// ErrForeign is an ELF file for another architecture or word size.
	ErrForeign = errors.New("made for another architecture")
	// ErrFormat is a file that is neither ELF nor a script that names its
	// interpreter.
	ErrFormat = errors.New("not in an executable format")
	// ErrTooDeep is a chain of scripts that the kernel would give up on.
	ErrTooDeep = errors.New("too many interpreters in a row")
)

// Bounds on what is believed of a file. They are far above what real linkers
// write, and keep a hostile one from costing memory or time.
const (
	maxHeaders = 64 << 10 // bytes of program headers; the kernel's own bound
	maxDynamic = 64 << 10 // bytes of the dynamic section
	maxNeeded  = 4096     // names taken from one dynamic section
	maxString  = 4096     // PATH_MAX
	maxRpath   = 64 << 10 // bytes of one search path
)

// Numbers of the ELF format.
const (
	elfClass64  = 2
	elfLittle   = 1
	elfBig      = 2
	etExec      = 2
	etDyn       = 3
	ptLoad      = 1
	ptDynamic   = 2
	ptInterp    = 3
	dtNull      = 0
	dtNeeded    = 1
	dtStrtab    = 5
	dtSoname    = 14
	dtRpath     = 15
	dtRunpath   = 29
	dtFlags1    = 0x6ffffffb
	df1NoDefLib = 0x800
	headerSize  = 64
	phdrSize    = 56
	dynSize     = 16
)

// machine describes what this machine executes and how its loaders name things.
type machine struct {
	arch     string   // runtime.GOARCH
	elf      uint16   // e_machine
	platform []string // what $PLATFORM may stand for
	lib      []string // what $LIB may stand for
	cache    uint32   // flags of its libraries in ld.so.cache
	hwcaps   []string // glibc-hwcaps directories, best first
	dirs     []string // where glibc builds look without being told
	musl     string   // in the names of musl's loader and its path file
}

var machines = []*machine{
	{
		arch: "amd64", elf: 62, platform: []string{"x86_64", "haswell", "xeon_phi"},
		lib: []string{"lib/x86_64-linux-gnu", "lib64", "lib"}, cache: 0x0303,
		hwcaps: []string{"x86-64-v4", "x86-64-v3", "x86-64-v2"},
		dirs:   []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"},
		musl:   "x86_64",
	},
	{
		arch: "arm64", elf: 183, platform: []string{"aarch64"},
		lib: []string{"lib/aarch64-linux-gnu", "lib64", "lib"}, cache: 0x0a03,
		dirs: []string{"/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"},
		musl: "aarch64",
	},
}

// machineOf returns the machine that a program for arch, as Go spells it, runs
// on. On one that the table does not know every ELF file is foreign.
func machineOf(arch string) *machine {
	for _, m := range machines {
		if m.arch == arch {
			return m
		}
	}
	return new(machine)
}

// object is what a loader learns from one ELF file.
type object struct {
	interp   string // empty: static, or a library
	soname   string
	needed   []string
	rpath    string
	runpath  string
	hasRun   bool // DT_RUNPATH is there, even if empty: DT_RPATH does not count
	noDefLib bool
}

// image reads parts of an ELF file whose header was accepted.
type image struct {
	r     io.ReaderAt
	order binary.ByteOrder
	loads []load
}

// load is a PT_LOAD segment: where a range of addresses lies in the file.
type load struct{ addr, off, size uint64 }

// isELF reports whether a file that begins with these bytes is ELF.
func isELF(head []byte) bool { return strings.HasPrefix(string(head), "\x7fELF") }

// parse reads an ELF file of this machine. Whatever is in it, parse returns: all
// sizes are bounded, all offsets are the reader's to refuse.
func parse(r io.ReaderAt, m *machine) (*object, error) {
	img, headers, err := open(r, m)
	if err != nil {
		return nil, err
	}
	return img.object(headers)
}

// Static reports whether an ELF file of this machine is a program without a
// loader. It fails with [ErrFormat] or [ErrForeign].
func Static(r io.ReaderAt) (bool, error) {
	img, headers, err := open(r, machineOf(runtime.GOARCH))
	if err != nil {
		return false, err
	}
	for ph := headers; len(ph) >= phdrSize; ph = ph[phdrSize:] {
		if img.order.Uint32(ph) == ptInterp {
			return false, nil
		}
	}
	return true, nil
}

// open judges a file's header and returns its program headers.
func open(r io.ReaderAt, m *machine) (*image, []byte, error) {
	var h [headerSize]byte
	if _, err := r.ReadAt(h[:], 0); err != nil {
		return nil, nil, fmt.Errorf("%w: short ELF header", ErrFormat)
	}
	if !isELF(h[:]) {
		return nil, nil, ErrFormat
	}
	img := image{r: r, order: binary.LittleEndian}
	if h[5] == elfBig {
		img.order = binary.BigEndian
	}
	typ, mach := img.order.Uint16(h[16:]), img.order.Uint16(h[18:])
	if h[4] != elfClass64 || h[5] != elfLittle || mach != m.elf || m.elf == 0 {
		return nil, nil, fmt.Errorf("%w (ELF class %d, data %d, machine %d)", ErrForeign, h[4], h[5], mach)
	}
	if typ != etExec && typ != etDyn {
		return nil, nil, fmt.Errorf("%w: ELF type %d", ErrFormat, typ)
	}
	phoff, phentsize, phnum := img.order.Uint64(h[32:]), img.order.Uint16(h[54:]), img.order.Uint16(h[56:])
	if phentsize != phdrSize || phnum == 0 || int(phnum)*phdrSize > maxHeaders {
		return nil, nil, fmt.Errorf("%w: unusable program headers", ErrFormat)
	}
	headers, err := img.read(phoff, uint64(phnum)*phdrSize)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: truncated program headers", ErrFormat)
	}
	return &img, headers, nil
}

// object reads what the program headers point to.
func (img *image) object(headers []byte) (*object, error) {
	o := new(object)
	var dynamic []byte
	for ph := headers; len(ph) >= phdrSize; ph = ph[phdrSize:] {
		off, addr, size := img.order.Uint64(ph[8:]), img.order.Uint64(ph[16:]), img.order.Uint64(ph[32:])
		switch img.order.Uint32(ph) {
		case ptLoad:
			img.loads = append(img.loads, load{addr, off, size})
		case ptInterp:
			// The kernel takes the first one, with its NUL.
			if o.interp != "" {
				continue
			}
			b, err := img.read(off, min(size, maxString))
			if err != nil || size < 2 || size > maxString || b[size-1] != 0 {
				return nil, fmt.Errorf("%w: unusable interpreter name", ErrFormat)
			}
			o.interp, _, _ = strings.Cut(string(b), "\x00")
		case ptDynamic:
			b, err := img.read(off, min(size, maxDynamic))
			if err != nil {
				return nil, fmt.Errorf("%w: truncated dynamic section", ErrFormat)
			}
			dynamic = b
		}
	}
	img.dynamic(o, dynamic)
	return o, nil
}

// dynamic fills o from the dynamic section. Names that can not be read are
// skipped: the loader would fail on them, and says so better.
func (img *image) dynamic(o *object, section []byte) {
	var strtab uint64
	img.eachTag(section, func(tag, value uint64) {
		if tag == dtStrtab {
			strtab = value
		}
	})
	img.eachTag(section, func(tag, value uint64) {
		text := func(limit int) string {
			s, _ := img.text(strtab+value, limit)
			return s
		}
		switch tag {
		case dtNeeded:
			if name := text(maxString); name != "" && len(o.needed) < maxNeeded {
				o.needed = append(o.needed, name)
			}
		case dtSoname:
			o.soname = text(maxString)
		case dtRpath:
			o.rpath = text(maxRpath)
		case dtRunpath:
			o.runpath, o.hasRun = text(maxRpath), true
		case dtFlags1:
			o.noDefLib = value&df1NoDefLib != 0
		}
	})
}

func (img *image) eachTag(section []byte, f func(tag, value uint64)) {
	for ; len(section) >= dynSize; section = section[dynSize:] {
		tag := img.order.Uint64(section)
		if tag == dtNull {
			return
		}
		f(tag, img.order.Uint64(section[8:]))
	}
}

// text reads the NUL-terminated string that will be at an address.
func (img *image) text(addr uint64, limit int) (string, bool) {
	for _, l := range img.loads {
		if addr < l.addr || addr-l.addr >= l.size {
			continue
		}
		left := l.size - (addr - l.addr)
		b := make([]byte, min(left, 256))
		var s []byte
		for off := l.off + (addr - l.addr); len(s) < limit && left > 0; off += uint64(len(b)) {
			n, err := img.r.ReadAt(b[:min(left, uint64(len(b)))], int64(off&(1<<63-1)))
			for i, c := range b[:n] {
				if c == 0 {
					return string(append(s, b[:i]...)), true
				}
			}
			if err != nil {
				return "", false
			}
			s = append(s, b[:n]...)
			left -= uint64(n)
		}
		return "", false
	}
	return "", false
}

func (img *image) read(off, size uint64) ([]byte, error) {
	if off > 1<<62 {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, size)
	if n, err := img.r.ReadAt(b, int64(off)); n < len(b) {
		return nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return b, nil
}
