//go:build !linux && !freebsd

package procdesc

import (
	"os"
	"os/exec"
	"syscall"
)

func self(path string) string { return path }

func closed() {}

func getpid(int) (int, error)                           { return 0, ErrNotSupported }
func kill(int, syscall.Signal) error                    { return ErrNotSupported }
func living(int) (bool, error)                          { return false, ErrNotSupported }
func tryWait(int) (*Exit, error)                        { return nil, ErrNotSupported }
func (p *Process) wait() (*Exit, error)                 { return nil, ErrNotSupported }
func fork(*exec.Cmd, *os.File, Flags) (*os.File, error) { return nil, ErrNotSupported }
