// Command workers has a sum added up by workers, one for each part, and starts a part
// again whose worker crashed.
//
// The program and its workers are in capability mode: a worker is the program itself,
// executed again from a descriptor that was opened before. The program holds its workers
// by process descriptors. So it can not leak one: when it ends, however that comes, the
// kernel ends them. See README.md.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/procdesc"
	"github.com/capsicum-go/capsicum/rights"
)

// workerName is argv[0] of a worker, whose arguments are its part and how often that was
// tried.
const workerName = "worker"

func main() {
	if os.Args[0] == workerName {
		worker(os.Args[1:])
		return
	}
	if err := run(4); err != nil {
		fmt.Fprintln(os.Stderr, "workers:", err)
		os.Exit(1)
	}
}

// run confines the process, and has parts worked on.
func run(parts int) error {
	self, err := procdesc.Self()
	if err != nil {
		return err
	}
	// All that workers can have is what is left here.
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if err := capsicum.Limit(f, rights.Write, rights.Fstat, rights.Event); err != nil {
			return err
		}
	}
	if err := capsicum.Limit(self, rights.Read, rights.Fexecve, rights.Fstat); err != nil {
		return err
	}
	if err := capsicum.Enter(); err != nil {
		return err
	}
	done := make(chan error)
	for part := range parts {
		go func() { done <- work(self, part) }()
	}
	var errs []error
	for range parts {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// work has a worker do one part, and another one if it crashes.
func work(self *os.File, part int) error {
	const most = 3
	for try := range most {
		cmd := exec.Command(workerName, strconv.Itoa(part), strconv.Itoa(try))
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		p, err := procdesc.StartFile(self, cmd)
		if err != nil {
			return err
		}
		// What is done with it from here on.
		if err := p.Limit(rights.Pdwait, rights.Event); err != nil {
			return errors.Join(err, p.Close())
		}
		exit, err := p.Wait()
		if err := errors.Join(err, p.Close()); err != nil {
			return err
		}
		if exit.Success() {
			return nil
		}
		fmt.Printf("part %d: %v, try %d\n", part, exit.Status.Signal(), try)
	}
	return fmt.Errorf("part %d: given up after %d tries", part, most)
}
