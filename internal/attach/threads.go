package attach

import (
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// fewProcesses is a limit of processes that is worth a thought.
	fewProcesses = 512
	// ownThreads is how many a supervisor comes to have.
	ownThreads = 8
	// spareThreads is how many more can be had then: calls that are answered are long
	// ones, for which the program's runtime may want another thread, and so may ours.
	spareThreads = 8
)

// haveThreads has the runtime make its threads before anybody depends on them, if it
// might get none later: it would end the supervisor, and the program would be refused
// whatever it asks; or the program, which has the same limit. Ended now, the supervisor
// leaves the program the static form. Otherwise they are made when they are needed, which
// takes less time.
func haveThreads() {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil || limit.Cur >= fewProcesses || os.Geteuid() == 0 {
		return
	}
	var there sync.WaitGroup
	enough := make(chan struct{})
	for n := range ownThreads + spareThreads {
		there.Add(1)
		go func() {
			runtime.LockOSThread()
			there.Done()
			<-enough
			if n < ownThreads {
				runtime.UnlockOSThread()
			} // else the thread ends with its goroutine
		}()
	}
	there.Wait()
	close(enough)
}
