// Command ring copies its input to its output through a ring buffer in shared memory,
// between two processes that do not trust each other.
//
// The producer writes the ring, and the consumer can only read it. How far the consumer
// is it says in memory that only it can write. See README.md.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/procdesc"
	"github.com/capsicum-go/capsicum/rights"
	"github.com/capsicum-go/capsicum/shm"
)

// consumerName is argv[0] of the consumer, which has the ring as descriptor 3 and its own
// memory as descriptor 4.
const consumerName = "consumer"

func main() {
	do := produce
	if os.Args[0] == consumerName {
		do = consume
	}
	if err := do(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
}

// produce starts the consumer and puts the input into the ring.
func produce() error {
	ring, err := shm.Create(ringSize)
	if err != nil {
		return err
	}
	place, err := shm.Create(placeSize)
	if err != nil {
		return err
	}
	w := &writer{}
	if w.ring, err = ring.Map(0, ringSize, shm.Read|shm.Write); err != nil {
		return err
	}
	if w.place, err = place.Map(0, placeSize, shm.Read); err != nil {
		return err
	}
	// The rights go with the descriptors. What is mapped stays so.
	if err := capsicum.Limit(ring, rights.Read, rights.MmapR); err != nil {
		return err
	}
	if err := capsicum.Limit(place, rights.MmapRW); err != nil {
		return err
	}
	self, err := procdesc.Self()
	if err != nil {
		return err
	}
	cmd := exec.Command(self.Name())
	cmd.Args = []string{consumerName}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{ring.File(), place.File()}
	consumer, err := procdesc.Start(cmd)
	if err != nil {
		return err
	}
	// Now the consumer alone has its place to write to.
	if err := errors.Join(ring.Close(), place.Close(), self.Close(), capsicum.Enter()); err != nil {
		return err
	}
	w.gone = func() bool { e, err := consumer.Exited(); return e != nil || err != nil }
	if _, err := io.Copy(w, os.Stdin); err != nil {
		return err
	}
	w.finish()
	exit, err := consumer.Wait()
	if err == nil && !exit.Success() {
		err = fmt.Errorf("consumer: %v", exit.Status)
	}
	return err
}

// consume puts what comes through the ring out.
func consume() error {
	ring, place := shm.FromFile(os.NewFile(3, "ring")), shm.FromFile(os.NewFile(4, "place"))
	if err := capsicum.Enter(); err != nil {
		return err
	}
	if os.Getenv("RING_EXPLOIT") != "" {
		exploit(ring, place)
		return nil
	}
	r := &reader{}
	var err error
	if r.ring, err = ring.Map(0, ringSize, shm.Read); err != nil {
		return err
	}
	if r.place, err = place.Map(0, placeSize, shm.Read|shm.Write); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, r)
	return err
}
