// Package shm is anonymous shared memory: FreeBSD's shm_open(SHM_ANON).
//
// An object has no name. It is reached through its descriptor, is handed on like
// any other (to a child, or over a local socket), and is freed with the last
// descriptor and mapping. It works in capability mode, and rights on the
// descriptor decide what may be done to the object:
//
//	o, err := shm.Create(1 << 20)
//	…
//	mem, err := o.Map(0, 1<<20, shm.Read|shm.Write)
//	…
//	err = capsicum.Limit(copyForReader, rights.Read, rights.MmapR)
//
// On FreeBSD the kernel does this. On Linux an object is a memfd(2). On other
// systems every call fails with [ErrNotSupported].
package shm

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
)

// ErrNotSupported says that this system has no such objects.
var ErrNotSupported = errors.ErrUnsupported

// Object is a descriptor of anonymous shared memory. It is a [syscall.Conn], so
// that package capsicum limits it as it stands.
type Object struct{ f *os.File }

// Create makes an object of size bytes, all of them zero. It can be sealed by
// nobody, whoever gets it. Its mode is 0600, and its descriptor is closed on exec.
func Create(size int64) (*Object, error) { return build(size, false) }

// CreateSealable is [Create] for an object on which [Object.Seal] works: for whoever
// holds a descriptor of it.
func CreateSealable(size int64) (*Object, error) { return build(size, true) }

func build(size int64, sealable bool) (*Object, error) {
	f, err := create(sealable)
	if err != nil {
		return nil, fmt.Errorf("create shared memory: %w", err)
	}
	o := &Object{f}
	if size == 0 {
		return o, nil
	}
	if err := o.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return o, nil
}

// FromFile makes an object of a descriptor that was handed to this process, and
// takes it over.
func FromFile(f *os.File) *Object { return &Object{f} }

// File is the object's descriptor, to be handed on: in ExtraFiles of a command, or
// over a socket. It is o's own, which o.Close closes.
func (o *Object) File() *os.File { return o.f }

// SyscallConn makes o a [syscall.Conn].
func (o *Object) SyscallConn() (syscall.RawConn, error) { return o.f.SyscallConn() }

// Close closes the descriptor. Mappings stay.
func (o *Object) Close() error { return o.f.Close() }

// Size returns the object's size. It needs [rights.Fstat].
func (o *Object) Size() (int64, error) {
	st, err := o.f.Stat()
	if err != nil {
		return 0, fmt.Errorf("size of shared memory: %w", err)
	}
	return st.Size(), nil
}

// Truncate sets the object's size; what is added is zero. It needs
// [rights.Ftruncate]. Memory that is cut off is gone from every mapping: who touches
// it there gets a fault, which ends a Go program. Seal what is shared with somebody
// who could do that.
func (o *Object) Truncate(size int64) error {
	if err := o.f.Truncate(size); err != nil {
		return fmt.Errorf("size shared memory: %w", err)
	}
	return nil
}

// Prot is what a mapping may be used for.
type Prot uint

// The uses of a mapping. Each needs the right [rights.MmapR], [rights.MmapW] or
// [rights.MmapX].
const (
	Read Prot = 1 << iota
	Write
	Exec
)

// Map maps length bytes of the object from offset on, a multiple of the page size.
// All mappings of an object are of the same memory. A right that is missing at this
// moment can't be had for the mapping later. [Unmap] ends it; a slice of it must not
// be used after that.
func (o *Object) Map(offset int64, length int, prot Prot) ([]byte, error) {
	if offset < 0 || length <= 0 || offset > math.MaxInt64-int64(length) || prot&^(Read|Write|Exec) != 0 {
		return nil, fmt.Errorf("map shared memory: %w", syscall.EINVAL)
	}
	raw, err := o.f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("map shared memory: %w", err)
	}
	var mem []byte
	cerr := raw.Control(func(fd uintptr) { mem, err = mapFile(int(fd), offset, length, prot) })
	if err := errors.Join(cerr, err); err != nil {
		return nil, fmt.Errorf("map shared memory: %w", err)
	}
	return mem, nil
}

// Unmap ends a mapping that [Object.Map] returned, which mem must be as it was.
func Unmap(mem []byte) error {
	if err := unmap(mem); err != nil {
		return fmt.Errorf("unmap shared memory: %w", err)
	}
	return nil
}

// Seals are what can be done to an object no more, by nobody, for good.
type Seals uint

// The seals. SealFutureWrite is Linux's: mappings that can be written to stay, and
// nothing else is ever written; so an owner who has mapped an object keeps the only
// hand that writes, whatever descriptor others get of it, and however.
const (
	SealSeal        Seals = 0x1  // no more seals
	SealShrink      Seals = 0x2  // not made smaller
	SealGrow        Seals = 0x4  // not made larger
	SealWrite       Seals = 0x8  // not written to; fails while it is mapped for that
	SealFutureWrite Seals = 0x10 // not written to but through mappings there are
	allSeals              = SealSeal | SealShrink | SealGrow | SealWrite | SealFutureWrite
)

// Seal adds seals to an object that [CreateSealable] made. It needs a descriptor
// that is open for writing, and on Linux [rights.Fchmod].
func (o *Object) Seal(s Seals) error {
	if s&^allSeals != 0 {
		return fmt.Errorf("seal shared memory: %w", syscall.EINVAL)
	}
	raw, err := o.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("seal shared memory: %w", err)
	}
	cerr := raw.Control(func(fd uintptr) { err = addSeals(int(fd), s) })
	if err := errors.Join(cerr, err); err != nil {
		return fmt.Errorf("seal shared memory: %w", err)
	}
	return nil
}

// Seals returns the object's seals; [SealSeal] is what [Create] set. It needs, on
// Linux, [rights.Fstat].
func (o *Object) Seals() (Seals, error) {
	raw, err := o.f.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("seals of shared memory: %w", err)
	}
	var s Seals
	cerr := raw.Control(func(fd uintptr) { s, err = getSeals(int(fd)) })
	if err := errors.Join(cerr, err); err != nil {
		return 0, fmt.Errorf("seals of shared memory: %w", err)
	}
	return s & allSeals, nil
}
