package main

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
	"unsafe"
)

// The ring is a page that says how much was ever written, and whether that is all; and
// then the data, each byte at its number modulo dataSize. The place is a page that says
// how much was ever read.
const (
	pageSize  = 4096
	dataSize  = 64 << 10
	ringSize  = pageSize + dataSize
	placeSize = pageSize
)

// errCheated says that the other side's number can not be.
var errCheated = errors.New("the other side has written nonsense")

// word is a number in shared memory. Read once: it may be another the next time.
func word(mem []byte, i int) *uint64 { return (*uint64)(unsafe.Pointer(&mem[8*i])) }

// nap is how long one side lets the other work.
const nap = 20 * time.Microsecond

// writer is the producer's side.
type writer struct {
	ring, place []byte
	written     uint64 // as said in the ring, where others can only read it
	gone        func() bool
}

// Write puts data into the ring, as there is room.
func (w *writer) Write(data []byte) (int, error) {
	done := 0
	for done < len(data) {
		used := w.written - atomic.LoadUint64(word(w.place, 0))
		switch {
		case used > dataSize:
			return done, errCheated
		case used == dataSize:
			if w.gone() {
				return done, io.ErrClosedPipe
			}
			time.Sleep(nap)
			continue
		}
		at := w.written % dataSize
		n := copy(w.ring[pageSize+at:], data[done:min(len(data), done+int(dataSize-used))])
		done += n
		w.written += uint64(n)
		atomic.StoreUint64(word(w.ring, 0), w.written)
	}
	return done, nil
}

func (w *writer) finish() { atomic.StoreUint64(word(w.ring, 1), 1) }

// reader is the consumer's side.
type reader struct {
	ring, place []byte
	read        uint64
}

// Read takes data out of the ring.
func (r *reader) Read(data []byte) (int, error) {
	for {
		last := atomic.LoadUint64(word(r.ring, 1)) != 0
		there := atomic.LoadUint64(word(r.ring, 0)) - r.read
		switch {
		case there > dataSize:
			return 0, errCheated
		case there == 0 && last:
			return 0, io.EOF
		case there == 0:
			time.Sleep(nap)
			continue
		}
		at := r.read % dataSize
		n := copy(data, r.ring[pageSize+at:][:min(there, dataSize-at)])
		r.read += uint64(n)
		atomic.StoreUint64(word(r.place, 0), r.read)
		return n, nil
	}
}
