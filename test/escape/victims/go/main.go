//go:build linux

// Storm opens files from many goroutines while the garbage collector runs all
// the time, so that the runtime's own signals hit calls that are being answered.
//
//	storm N GRANTED SECRET
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

const goroutines = 8

var sink atomic.Pointer[[]byte]

func main() {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	var wg sync.WaitGroup
	var failed, leaked atomic.Value
	var stop atomic.Bool
	go func() {
		for !stop.Load() {
			b := make([]byte, 1<<16)
			sink.Store(&b)
			runtime.GC()
		}
	}()
	for range goroutines {
		wg.Go(func() {
			for i := range n / goroutines {
				if err := look(os.Args[2]); err != nil {
					failed.Store(err)
					return
				}
				if i%16 == 0 && look(os.Args[3]) == nil {
					leaked.Store(true)
				}
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	say("+opens", failed.Load())
	if leaked.Load() != nil {
		say("secret", nil)
	} else {
		say("secret", error(syscall.ENOENT))
	}
	fmt.Println("done")
}

func look(name string) error {
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return syscall.Close(fd)
}

func say(name string, failure any) {
	var errno syscall.Errno
	err, ok := failure.(error)
	switch {
	case !ok:
		fmt.Println(name + ": OK")
	case errors.As(err, &errno):
		fmt.Printf("%s: E%d\n", name, int(errno))
	default:
		fmt.Printf("%s: %v\n", name, err)
	}
}
