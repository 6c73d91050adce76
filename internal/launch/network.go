package launch

import (
	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/script"
)

// A network namespace costs the kernel more than all the others: init makes it
// while the program's process builds the root, and hands it over.

// makeNetwork adds it to init's steps. ns is a descriptor of /proc/self/ns, from
// before the program's process covered /proc.
func (c *children) makeNetwork(ns script.Value) {
	m := newMessage(make([]byte, 1), 1)
	// The program's process may wait for this processor, and has less to do.
	c.init.Do(stepNamespaces, unix.SYS_SCHED_YIELD)
	c.init.Do(stepNamespaces, unix.SYS_UNSHARE, unix.CLONE_NEWNET)
	c.init.Do(stepNamespaces, unix.SYS_OPENAT, ns, script.String("net"), unix.O_RDONLY|unix.O_CLOEXEC, 0).Into(m.fd(0))
	c.init.Do(stepNamespaces, unix.SYS_SENDMSG, c.link.init, script.Struct(m), unix.MSG_NOSIGNAL)
}

// joinNetwork adds to the program's steps that it waits for the namespace and
// enters it.
func (c *children) joinNetwork() {
	const what = "join the network namespace"
	m, n := newMessage(make([]byte, 1), 1), new(uint64)
	c.program.Do(what, unix.SYS_RECVMSG, c.link.program, script.Struct(m), unix.MSG_CMSG_CLOEXEC).Into(low(n))
	c.program.Equal(what, n, 1, unix.EPIPE)
	c.program.Do(what, unix.SYS_SETNS, m.fd(0), unix.CLONE_NEWNET)
	c.program.Do(what, unix.SYS_CLOSE, m.fd(0))
}
