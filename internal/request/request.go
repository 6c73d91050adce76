// Package request is what a process asks of its supervisor: one system call, with
// a number that no kernel has, so that it is ENOSYS where nobody supervises.
//
//	syscall(Number, op, arg, arg, arg)
package request

// Number is the call's number.
const Number = 0x43415

// Op is argument 0 of the call.
type Op uint64

// The operations, with what they take and answer. Smaller numbers are questions
// that filters answer; see package slot.
const (
	Mode        Op = 16 + iota // () 1 in capability mode, else 0
	Enter                      // () the process's filter follows
	LimitRights                // (fd, word 0, word 1) Stack: stack a filter, and say Stacked
	Rights                     // (fd, *[2]uint64)
	LimitIoctls                // (fd, *uint32, n) as LimitRights
	Ioctls                     // (fd, *uint32, room) how many, or AllIoctls
	LimitFcntls                // (fd, mask) as LimitRights
	Fcntls                     // (fd) the mask
	Pending                    // (fd, *Caps) what the filter to stack is for
	Stacked                    // (fd)
)

// Caps is everything that a descriptor permits.
type Caps struct {
	Rights [2]uint64
	Fcntls uint32
	Mode   uint32 // 1 if the process is in capability mode
	Listed uint32 // 1 if only the first Count of Ioctls are permitted
	Count  uint32
	Ioctls [256]uint32
}

// AllIoctls is the answer of Ioctls for a descriptor without a list.
const AllIoctls = 1 << 20

// Bits of the answer of a limit.
const (
	Stack    = 1 << iota // what the descriptor lost would pass: stack a filter
	ReadOnly             // for one that is not open for writing
)
