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
// that filters answer; see package slot. What narrows answers with the number of
// instructions of a filter that the process stacks on all its threads: without, what
// was lost would still pass. It is written to *filter.
const (
	Supervisor  Op = 16 + iota // () its process number, 0 in another PID namespace
	Enter                      // (1 if no thread can execute what has a name, *filter)
	LimitRights                // (fd, word 0, word 1, *filter) 0 if there is nothing to stack; else Stacked follows
	Rights                     // (fd, *[2]uint64)
	LimitIoctls                // (fd, *uint32, n, *filter) as LimitRights
	Ioctls                     // (fd, *uint32, room) how many, or AllIoctls
	LimitFcntls                // (fd, mask, 0, *filter) as LimitRights
	Fcntls                     // (fd) the mask
	Stacked                    // (fd) the filter of fd is stacked
	Pdgetpid                   // (fd) the number of the process that fd stands for
	Pdkill                     // (fd, signal)
	Pdmark                     // (fd, daemon) makes a process descriptor of the caller's of a socket that the caller made
	Pdwait                     // (fd, *record, options) how it ended, EAGAIN with WaitNot if it has not
	Pdalive                    // (fd) 1 if it has not
)

// The options of Pdwait.
const (
	WaitNot   = 1 // do not sleep
	WaitLeave = 2 // leave the status for others
	WaitName  = 4 // with WaitNot: while it runs, the answer is the inode of its descriptor
)

// MaxFilter is the room that a filter needs, in instructions of eight bytes.
const MaxFilter = 4096

// AllIoctls is the answer of Ioctls for a descriptor without a list.
const AllIoctls = 1 << 20
