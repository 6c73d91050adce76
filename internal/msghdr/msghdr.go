// Package msghdr reads the header of a message and what it points to, once, from the
// memory of the process that sends or receives: sendmsg(2), recvmsg(2), cmsg(3).
package msghdr

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const (
	Size        = 56 // struct msghdr
	EntrySize   = 64 // struct mmsghdr: a header, and how long the message was
	ControlSize = 16 // struct cmsghdr

	MaxEntries = 1024    // of sendmmsg and recvmmsg: UIO_MAXIOV
	MaxData    = 1 << 20 // of one message; a longer one is cut or refused as its type allows

	maxPieces  = 1024 // UIO_MAXIOV
	maxControl = 20 << 10
	maxName    = 128 // struct sockaddr_storage
)

// Memory is that of the process.
type Memory interface {
	Bytes(addr uint64, n int) ([]byte, error)
}

// Header is a struct msghdr. Its name is as long as the kernel takes it to be.
type Header struct {
	Name                uint64
	NameLen             int32
	pieces, count       uint64
	Control, ControlLen uint64
}

// Read copies the header at addr. As in the kernel a name is cut to what an address can
// be, and not refused as sendto(2) does, and EINVAL if its length is negative.
func Read(m Memory, addr uint64) (Header, error) {
	raw, err := m.Bytes(addr, Size)
	if err != nil {
		return Header{}, err
	}
	word := func(at int) uint64 { return binary.NativeEndian.Uint64(raw[at:]) }
	h := Header{word(0), int32(word(8)), word(16), word(24), word(32), word(40)}
	switch {
	case h.Name == 0:
		h.NameLen = 0
	case h.NameLen < 0:
		return Header{}, unix.EINVAL
	}
	h.NameLen = min(h.NameLen, maxName)
	return h, nil
}

// Piece is a part of the process's memory: struct iovec.
type Piece struct{ Base, Len uint64 }

// Pieces copies the list of the parts that the message is made of.
func (h Header) Pieces(m Memory) ([]Piece, error) {
	if h.count > maxPieces {
		return nil, unix.EMSGSIZE
	}
	raw, err := m.Bytes(h.pieces, int(h.count)*16)
	if err != nil {
		return nil, err
	}
	list := make([]Piece, h.count)
	for i := range list {
		list[i] = Piece{binary.NativeEndian.Uint64(raw[i*16:]), binary.NativeEndian.Uint64(raw[i*16+8:])}
	}
	return list, nil
}

// Room is how many bytes the parts hold, at most [MaxData].
func Room(list []Piece) int {
	total := uint64(0)
	for _, p := range list {
		total += min(p.Len, MaxData-total)
	}
	return int(total)
}

// Gather copies the parts in order. A datagram that is too long is EMSGSIZE; a stream
// takes what fits and says so.
func Gather(m Memory, list []Piece, stream bool) ([]byte, error) {
	var data []byte
	for _, p := range list {
		room := uint64(MaxData - len(data))
		if p.Len > room && !stream {
			return nil, unix.EMSGSIZE
		}
		part, err := m.Bytes(p.Base, int(min(p.Len, room)))
		if err != nil {
			return nil, err
		}
		data = append(data, part...)
	}
	return data, nil
}

// Controls copies the buffer of control messages.
func (h Header) Controls(m Memory) ([]byte, error) {
	if h.ControlLen > maxControl {
		return nil, unix.ENOBUFS
	}
	return m.Bytes(h.Control, int(h.ControlLen))
}

// ControlRoom is how long a buffer may be worth having for the control messages of a
// message that comes.
func (h Header) ControlRoom() int { return int(min(h.ControlLen, maxControl)) }

// EachControl calls f for each message in a control buffer, by the kernel's rules: a
// header that reaches beyond the buffer is EINVAL, too little for a header ends it.
func EachControl(buf []byte, f func(level, typ uint32, body []byte) error) error {
	for len(buf) >= ControlSize {
		n := binary.NativeEndian.Uint64(buf)
		if n < ControlSize || n > uint64(len(buf)) {
			return unix.EINVAL
		}
		err := f(binary.NativeEndian.Uint32(buf[8:]), binary.NativeEndian.Uint32(buf[12:]), buf[ControlSize:n])
		if err != nil {
			return err
		}
		buf = buf[min((n+7)&^7, uint64(len(buf))):]
	}
	return nil
}
