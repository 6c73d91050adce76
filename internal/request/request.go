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
	Enter                      // (1 if no thread can execute what has a name) the process's filter follows
	LimitRights                // (fd, word 0, word 1) Stack: stack a filter, and say Stacked
	Rights                     // (fd, *[2]uint64)
	LimitIoctls                // (fd, *uint32, n) as LimitRights
	Ioctls                     // (fd, *uint32, room) how many, or AllIoctls
	LimitFcntls                // (fd, mask) as LimitRights
	Fcntls                     // (fd) the mask
	Filter                     // (fd, *[MaxFilter]instruction) how many: the filter to stack for a limit; for capability mode with fd -1
	Stacked                    // (fd)
)

// MaxFilter is the room that a filter needs, in instructions of eight bytes.
const MaxFilter = 4096

// AllIoctls is the answer of Ioctls for a descriptor without a list.
const AllIoctls = 1 << 20

// Stack is the answer of a limit when what the descriptor lost would still pass:
// the process stacks a filter on all its threads, and says so.
const Stack = 1
