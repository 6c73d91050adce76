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

// readFile returns a whole file, or nil when it is not there, not readable or
// too long.
func (c *closure) readFile(name string, limit int64) []byte {
	f, err := c.open.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	if f.R == nil {
		return nil
	}
	data, err := io.ReadAll(io.NewSectionReader(f.R, 0, limit+1))
	if err != nil || int64(len(data)) > limit {
		return nil
	}
	return data
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

// parseCache returns the paths of each library with the given flags.
func parseCache(data []byte, flags uint32) (map[string][]string, error) {
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
	libs := make(map[string][]string)
	for i := range count {
		entry := data[newHeader+i*newEntry:]
		if binary.LittleEndian.Uint32(entry) != flags {
			continue
		}
		// Offsets count from the new header, wherever it lies in the file.
		name, value := cString(data, entry[4:]), cString(data, entry[8:])
		if name != "" && path.IsAbs(value) {
			libs[name] = append(libs[name], value)
		}
	}
	return libs, nil
}

// cString returns the string whose offset the first four bytes of at give.
func cString(data, at []byte) string {
	off := uint64(binary.LittleEndian.Uint32(at))
	if off >= uint64(len(data)) {
		return ""
	}
	s, _, found := bytes.Cut(data[off:min(off+maxString, uint64(len(data)))], []byte{0})
	if !found {
		return ""
	}
	return string(s)
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
