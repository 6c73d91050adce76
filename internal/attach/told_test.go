package attach

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/roster"
	"github.com/capsicum-go/capsicum/rights"
)

// toldOf has the supervisor tell of this process: what a person would see.
func toldOf() error {
	fd, list := zero(), zero()
	if err := Start(); err != nil {
		return err
	}
	if err := LimitRights(fd, rights.Of(rights.Read, rights.Fstat)); err != nil {
		return err
	}
	if err := LimitIoctls(list, []uint32{unix.TCGETS}); err != nil {
		return err
	}
	closed := zero()
	if err := LimitRights(closed, rights.Of(rights.Read)); err != nil {
		return err
	}
	if err := unix.Close(closed); err != nil {
		return err
	}
	// It may not have come to listen yet.
	var p roster.Process
	for n := 0; n < 6000 && !p.Told; n++ {
		all, err := roster.Of([]int{os.Getpid()})
		if err != nil {
			return err
		}
		p = all[0]
		time.Sleep(10 * time.Millisecond)
	}
	if p.Form != roster.Supervised || !p.Told || p.Mode || p.Filters < 1 {
		return fmt.Errorf("told: %+v", p)
	}
	if by := supervisorsOf(os.Getpid()); len(by) != 1 || by[0] != p.By {
		return fmt.Errorf("supervised by %d, it is %v", p.By, by)
	}
	full := filecaps.Full()
	want := []roster.File{
		{Descriptor: roster.Descriptor{FD: fd, Caps: filecaps.Caps{Rights: rights.Of(rights.Read, rights.Fstat), Listed: true}}, Name: "/dev/zero"},
		{Descriptor: roster.Descriptor{FD: list, Caps: filecaps.Caps{Rights: full.Rights, Fcntls: full.Fcntls, Listed: true, Ioctls: []uint32{unix.TCGETS}}}, Name: "/dev/zero"},
	}
	if !reflect.DeepEqual(p.Limited, want) {
		return fmt.Errorf("limited: %+v, want %+v", p.Limited, want)
	}
	return unreachable()
}

// triedForm has a child find out what this process is about to find out itself.
func triedForm() error {
	form, why := Try()
	if form != roster.Supervised || why != nil {
		return fmt.Errorf("tried: %s, %v", form, why)
	}
	if err := Start(); err != nil {
		return err
	}
	// What is started beneath a supervisor has that one.
	if form, why := Try(); form != roster.Supervised || why != nil {
		return fmt.Errorf("tried beneath a supervisor: %s, %v", form, why)
	}
	return nil
}

// unreachable tries the supervisor's socket from capability mode.
func unreachable() error {
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return err
	}
	_, name, found := strings.Cut(string(text), " @capsicum: supervisor/")
	if !found {
		return fmt.Errorf("no socket among %s", text)
	}
	name, _, _ = strings.Cut("@capsicum: supervisor/"+name, "\n")
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := Enter(); err != nil {
		return err
	}
	return want("ask the supervisor in capability mode", unix.Connect(s, &unix.SockaddrUnix{Name: name}), filecaps.ECAPMODE)
}
