package main

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/procdesc"
	"github.com/capsicum-go/capsicum/shm"
)

// inTurns times each of the named functions n times, in turns, and prints medians.
func inTurns(n int, names []string, do map[string]func() error) error {
	times := map[string][]time.Duration{}
	for turn := range n {
		for k := range names {
			name := names[(turn+k)%len(names)]
			start := time.Now()
			if err := do[name](); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			times[name] = append(times[name], time.Since(start))
		}
	}
	for _, name := range names {
		slices.Sort(times[name])
		fmt.Printf("%s\t%d\n", name, times[name][n/2].Nanoseconds())
	}
	return nil
}

// children times start, exit and wait of a child that does nothing.
func children(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	return inTurns(n, []string{"os/exec", "procdesc"}, map[string]func() error{
		"os/exec": func() error { return exec.Command("/bin/true").Run() },
		"procdesc": func() error {
			p, err := procdesc.Start(exec.Command("/bin/true"))
			if err != nil {
				return err
			}
			_, err = p.Wait()
			return errors.Join(err, p.Close())
		},
	})
}

// shared times making, mapping and touching some megabytes of shared memory.
func shared(args []string) error {
	size, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	size <<= 20
	const page = 4096
	touch := func(mem []byte) {
		for i := 0; i < len(mem); i += page {
			mem[i] = 1
		}
	}
	return inTurns(5, []string{"memfd", "shm"}, map[string]func() error{
		"memfd": func() error {
			fd, err := unix.MemfdCreate("plain", unix.MFD_CLOEXEC)
			if err != nil {
				return err
			}
			if err := unix.Ftruncate(fd, int64(size)); err != nil {
				return err
			}
			mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			touch(mem)
			return errors.Join(unix.Munmap(mem), unix.Close(fd))
		},
		"shm": func() error {
			o, err := shm.Create(int64(size))
			if err != nil {
				return err
			}
			mem, err := o.Map(0, size, shm.Read|shm.Write)
			if err != nil {
				return err
			}
			touch(mem)
			return errors.Join(shm.Unmap(mem), o.Close())
		},
	})
}
