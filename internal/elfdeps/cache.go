package elfdeps

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"strings"
)

// cachePath is where glibc's loader looks up libraries by name.
const cachePath = "/etc/ld.so.cache"

// maxCache bounds what is read of it; a distribution's own is some 100 kB.
const maxCache = 16 << 20

// The two formats of the cache. An old one may precede the new one in the same
// file, so that loaders of before 1999 could read it too.
const (
	oldMagic     = "ld.so-1.7.0"
	oldHeader    = 16
	oldEntry     = 12
	newMagic     = "glibc-ld.so.cache1.1"
	newHeader    = 48
	newEntry     = 24
	bigEndian    = 3 // in the flags of the new header
	endianMask   = 3
	newAlignment = 8
)

// usualFile holds a usual file whole, so that no copies are made as it grows.
const usualFile = 64 << 10

// readFile returns a whole file, or nil when it is not there, not readable or
// too long.
func (c *closure) readFile(name string, limit int64) []byte {
	f, err := c.find(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	if f.R == nil {
		return nil
	}
	buf := bytes.NewBuffer(make([]byte, 0, usualFile))
	n, err := buf.ReadFrom(io.NewSectionReader(f.R, 0, limit+1))
	if err != nil || n > limit {
		return nil
	}
	return buf.Bytes()
}

// readCache adds the cache to what is needed, and reads it.
func (l *loader) readCache() {
	data := l.c.readFile(cachePath, maxCache)
	if data == nil {
		return
	}
	l.c.add(cachePath, Data, "library cache of "+l.main.path, 0)
	cache, err := parseCache(data, l.c.m.cache)
	if err != nil {
		l.c.warn("%s can not be understood: %v", cachePath, err)
	}
	l.cache = cache
}

var errCache = errors.New("not a library cache of a known format")

// cache is the library cache as its file has it, for one machine.
type cache struct {
	data  []byte // from the new header on
	count uint64
	flags uint32
}

// parseCache checks the header of a cache. Of its many libraries a program needs
// a few, so entries are read when somebody asks for them.
func parseCache(data []byte, flags uint32) (*cache, error) {
	if bytes.HasPrefix(data, []byte(oldMagic)) && len(data) >= oldHeader {
		skip := oldHeader + uint64(binary.LittleEndian.Uint32(data[12:]))*oldEntry
		skip = (skip + newAlignment - 1) &^ (newAlignment - 1)
		if skip > uint64(len(data)) {
			return nil, errCache
		}
		data = data[skip:]
	}
	if !bytes.HasPrefix(data, []byte(newMagic)) || len(data) < newHeader || data[28]&endianMask == bigEndian {
		return nil, errCache
	}
	count := uint64(binary.LittleEndian.Uint32(data[20:]))
	if count > uint64(len(data)-newHeader)/newEntry {
		return nil, errCache
	}
	return &cache{data, count, flags}, nil
}

// paths returns where the library called name is, in the cache's order.
func (c *cache) paths(name string) []string {
	if c == nil || name == "" || strings.Contains(name, "\x00") {
		return nil
	}
	var out []string
	for i := range c.count {
		entry := c.data[newHeader+i*newEntry:][:newEntry]
		if binary.LittleEndian.Uint32(entry) != c.flags {
			continue
		}
		rest := c.at(entry[4:])
		if len(rest) <= len(name) || rest[len(name)] != 0 || string(rest[:len(name)]) != name {
			continue
		}
		value, _, found := bytes.Cut(c.at(entry[8:]), []byte{0})
		if found && path.IsAbs(string(value)) {
			out = append(out, string(value))
		}
	}
	return out
}

// at returns what begins where the first four bytes of offset say, as much as
// one string may be. Offsets count from the new header, wherever it lies in the
// file.
func (c *cache) at(offset []byte) []byte {
	size := uint64(len(c.data))
	off := min(uint64(binary.LittleEndian.Uint32(offset)), size)
	return c.data[off:min(off+maxString, size)]
}

// muslDefault is where musl's loader looks when no file says otherwise.
const muslDefault = "/lib:/usr/local/lib:/usr/lib"

// maxMuslPath bounds what is read of musl's path file.
const maxMuslPath = 1 << 20

// readMuslPath reads the search path file that lies beside musl's loader, and
// adds it to what is needed.
func (l *loader) readMuslPath(interp, arch string) {
	list := muslDefault
	name := path.Join(path.Dir(path.Dir(interp)), "etc/ld-musl-"+arch+".path")
	if data := l.c.readFile(name, maxMuslPath); data != nil {
		l.c.add(name, Data, "library path of "+l.main.path, 0)
		list = string(data)
	}
	l.musl = l.split(strings.TrimRight(list, "\n"), ":\n", l.main)
}
