package elfdeps

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// This file finds out whether a program has Capsicum's library in it. It needs to be
// found in advance: what a process may confine itself with is installed before it is
// executed. What says so is no promise and no proof; a program without a library
// that is taken for one with it is only slower.

// soname is the library's, without a version.
const soname = "libcapsicum.so"

// Notes in which programs say what they are made of, by their owner.
const (
	ownNote = "Capsicum" // in the C library's archive
	goNote  = "Go"
)

// modulePath is the Go library.
const modulePath = "github.com/capsicum-go/capsicum"

const (
	maxNotes     = 4096
	maxBuildInfo = 64 << 10
	noteHeader   = 12
	pfW          = 2
	ptNote       = 4
)

// isLibrary reports whether a shared object is Capsicum's library.
func (o *object) isLibrary() bool {
	return o.soname == soname || strings.HasPrefix(o.soname, soname+".")
}

// hasLibrary reports whether a program has the library linked into it.
func (img *image) hasLibrary(headers []byte) bool {
	for ph := headers; len(ph) >= phdrSize; ph = ph[phdrSize:] {
		if img.order.Uint32(ph) != ptNote {
			continue
		}
		notes, err := img.read(img.order.Uint64(ph[8:]), min(img.order.Uint64(ph[32:]), maxNotes))
		if err == nil && (img.owns(notes, ownNote) || img.owns(notes, goNote) && img.goModule(headers)) {
			return true
		}
	}
	return false
}

// owns reports whether one of notes has this owner.
func (img *image) owns(notes []byte, owner string) bool {
	for len(notes) >= noteHeader {
		name, desc := uint64(img.order.Uint32(notes)), uint64(img.order.Uint32(notes[4:]))
		notes = notes[noteHeader:]
		end := (name+3)&^3 + (desc+3)&^3
		if end > uint64(len(notes)) {
			return false
		}
		if string(bytes.TrimRight(notes[:name], "\x00")) == owner {
			return true
		}
		notes = notes[end:]
	}
	return false
}

// goModule reports whether the build information of a Go program, with which one of
// its writable segments begins, names the library's module.
func (img *image) goModule(headers []byte) bool {
	const magic, header, inline = "\xff Go buildinf:", 32, 2
	for ph := headers; len(ph) >= phdrSize; ph = ph[phdrSize:] {
		if img.order.Uint32(ph) != ptLoad || img.order.Uint32(ph[4:])&pfW == 0 {
			continue
		}
		info, err := img.read(img.order.Uint64(ph[8:]), min(img.order.Uint64(ph[32:]), maxBuildInfo))
		if err != nil || len(info) < header || !bytes.HasPrefix(info, []byte(magic)) || info[15]&inline == 0 {
			continue
		}
		_, rest := counted(info[header:]) // the version of Go
		modules, _ := counted(rest)
		return bytes.Contains(modules, []byte("\t"+modulePath+"\t"))
	}
	return false
}

// counted splits off what begins with its length.
func counted(b []byte) (text, rest []byte) {
	n, width := binary.Uvarint(b)
	if width <= 0 || n > uint64(len(b)-width) {
		return nil, nil
	}
	return b[width : width+int(n)], b[width+int(n):]
}
