package launch

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/script"
)

// kept are the capabilities that a program started by root keeps, and only over
// the sandbox's own user namespace where there is one: owning, changing and
// reading files whoever they belong to, and changing to another user. A program
// started by an ordinary user has none.
var kept = []int{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETUID, unix.CAP_SETGID,
}

// supervising are those that root's supervisor keeps: what the program may have,
// which it takes on when it acts for it, and reaching the program.
var supervising = append([]int{unix.CAP_SYS_PTRACE, unix.CAP_KILL, unix.CAP_SYS_RESOURCE}, kept...)

// bits returns a list of capabilities as the kernel has them.
func bits(list []int) (mask [2]uint32) {
	for _, c := range list {
		mask[c/32] |= 1 << (c % 32)
	}
	return mask
}

// dropPrivileges adds what takes from the program every capability that is not
// kept, and the way to gain any by executing.
func dropPrivileges(seq *script.Sequence, engine policy.Engine) error {
	const what = "drop privileges"
	seq.Do(what, unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	seq.Do(what, unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	var list []int
	if os.Geteuid() == 0 {
		list = kept
	}
	if err := dropBounding(seq, what, engine, list); err != nil {
		return err
	}
	have, err := capabilities(engine)
	if err != nil {
		return err
	}
	keep := bits(list)
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := new([2]unix.CapUserData)
	for i := range data {
		data[i].Permitted = have[i] & keep[i]
		data[i].Effective = data[i].Permitted
	}
	seq.Do(what, unix.SYS_CAPSET, script.Struct(header), script.Struct(data))
	return nil
}

// dropBounding adds what keeps executing from bringing back any capability
// outside list. It takes CAP_SETPCAP; a process without has none that an exec
// could bring back under no_new_privs.
func dropBounding(seq *script.Sequence, what string, engine policy.Engine, list []int) error {
	have, err := capabilities(engine)
	if err != nil || have[unix.CAP_SETPCAP/32]&(1<<unix.CAP_SETPCAP) == 0 {
		return err
	}
	keep := bits(list)
	drop := ^(uint64(keep[1])<<32 | uint64(keep[0]))
	if drop&1 != 0 {
		seq.Do(what, unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, 0, 0, 0, 0)
	}
	one := script.NewValue()
	seq.Each(what, drop>>1, one, unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, one, 0, 0, 0).Forgive(unix.EINVAL) // past the last one
	return nil
}

// capabilities returns what the program's process has to begin with: everything
// in a user namespace of its own.
func capabilities(engine policy.Engine) ([2]uint32, error) {
	if engine == policy.EngineNamespaces {
		return [2]uint32{^uint32(0), ^uint32(0)}, nil
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return [2]uint32{}, fmt.Errorf("read capabilities: %w", err)
	}
	return [2]uint32{data[0].Permitted, data[1].Permitted}, nil
}
