//go:build linux || freebsd

package conformance

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/rights"
)

func processCases() []Case {
	signal := func(name string, w Want, pid int, sig unix.Signal) Case {
		return Case{Name: "processes/kill " + name, In: entered, Want: w, Make: func(*T) func() error {
			return func() error { return unix.Kill(pid, sig) }
		}}
	}
	cases := []Case{
		statically(signal("itself", success, os.Getpid(), 0), either),
		statically(signal("itself with a signal", success, os.Getpid(), unix.SIGURG), either),
		signal("its parent", capMode, os.Getppid(), 0),
		signal("its group", capMode, 0, 0),
		signal("another group", capMode, -os.Getppid(), 0),
		signal("everybody", capMode, -1, 0),
		signal("the first process", capMode, 1, 0),
		signal("nobody", capMode, 1<<22+1, 0),
		statically(signal("itself with no signal at all", invalid, os.Getpid(), 999), invalid.or(refused)),
		{Name: "processes/numbers", In: entered, Want: success, Make: func(*T) func() error {
			pid, parent, group := os.Getpid(), os.Getppid(), unix.Getpgrp()
			return func() error {
				return all(same("pid", unix.Getpid(), pid), same("parent", unix.Getppid(), parent), same("group", unix.Getpgrp(), group))
			}
		}},
		{Name: "processes/limits leave pid, parent, group and session", Want: success, In: alone, Make: func(t *T) func() error {
			state := func() [4]int {
				sid, _ := unix.Getsid(0)
				return [4]int{unix.Getpid(), unix.Getppid(), unix.Getpgrp(), sid}
			}
			fd, before := t.file(), state()
			return func() error { limit(fd, rights.Read); enter(); return same("numbers", state(), before) }
		}},
		{Name: "processes/no child that anybody sees", Want: is(unix.ECHILD), In: alone, Make: func(t *T) func() error {
			fd := t.file()
			return func() error {
				limit(fd, rights.Read)
				_, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
				return err
			}
		}},
		{Name: "processes/no descriptor more", Quiet: true, Want: success, In: alone, Make: func(t *T) func() error {
			fd := t.file()
			return func() error {
				before := openDescriptors()
				limit(fd, rights.Read)
				return same("open descriptors", fmt.Sprint(openDescriptors()), fmt.Sprint(before))
			}
		}},
	}
	return append(cases, systemProcessCases()...)
}

// openDescriptors lists the numbers below 1000 that are open.
func openDescriptors() []int {
	var open []int
	for fd := range 1000 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open = append(open, fd)
		}
	}
	return open
}

// until calls do again and again in another thread, once at least, until stop is
// called, which returns the first error.
func until(do func() error) (stop func() error) {
	var done atomic.Bool
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := guard(do)
		for err == nil && !done.Load() {
			err = guard(do)
		}
		result <- err
	}()
	return func() error { done.Store(true); return <-result }
}

// during runs do for a tenth of a second.
func during(do func() error) error {
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// threadCases are of what other threads do at the same time.
func threadCases() []Case {
	two := func(name string, make func(t *T) func() error) Case {
		return Case{Name: "threads/" + name, In: alone, Want: success, Static: &either, Make: make}
	}
	return []Case{
		two("one made before a limit", func(t *T) func() error {
			fd := t.file()
			ask, answer := threadThat(func() error { return write(fd) })
			return func() error { limit(fd, rights.Read); ask <- true; return failing("write", <-answer, notCapable) }
		}).expect(success, success),
		two("one that limits confines the others", func(t *T) func() error {
			fd := t.file()
			ask, answer := threadThat(func() error { return lib.LimitFD(fd, rights.Read) })
			return func() error {
				ask <- true
				return all(<-answer, failing("write", write(fd), notCapable))
			}
		}).expect(success, success),
		two("many that limit at once", func(t *T) func() error {
			var fds []int
			for range 16 {
				fds = append(fds, t.file())
			}
			return func() error {
				results := make(chan error, len(fds))
				for _, fd := range fds {
					go func() {
						runtime.LockOSThread()
						results <- guard(func() error {
							limit(fd, rights.Read)
							return all(failing("write", write(fd), notCapable), read(fd))
						})
					}()
				}
				for range fds {
					if err := <-results; err != nil {
						return err
					}
				}
				return nil
			}
		}).expect(success, success),
		two("a limited descriptor is never unlimited while others are swapped over it", swapping),
		two("a limited descriptor over another, while it is written to", overwriting),
		two("a limited descriptor closed and made again", closing),
		two("another descriptor is closed while a limited one is used", func(t *T) func() error {
			fd, other := t.file(), t.file()
			return func() error {
				limit(fd, rights.Read)
				stopped := until(func() error {
					copied, err := unix.Dup(other)
					stop("dup", err)
					return unix.Close(copied)
				})
				err := during(func() error { return all(failing("write", write(fd), notCapable), seekable(fd)) })
				return all(stopped(), err)
			}
		}),
		two("a call under way when the right is lost", func(t *T) func() error {
			const tries = 6 // a thread may need a while to come to its call
			p := make([]int, 2*tries)
			for i := 0; i < len(p); i += 2 {
				stop("pipe", unix.Pipe2(p[i:i+2], unix.O_CLOEXEC))
			}
			return func() (err error) {
				for i, pause := 0, 20*time.Millisecond; i < len(p); i, pause = i+2, 3*pause {
					if err = lostMeanwhile(p[i], p[i+1], pause); err == nil {
						return nil
					}
				}
				return err
			}
		}).expect(success, success),
		two("Enter while others call", func(t *T) func() error {
			fd := t.file()
			return func() error {
				stopped := until(func() error { return all(seek(fd), fstat(fd)) })
				enter()
				return all(stopped(), failing("open", openPath("/dev/null"), capMode))
			}
		}).expect(success, success),
	}
}

// lostMeanwhile takes the rights of the read end of a pipe from a read that began a pause
// ago, which that and only that does not notice.
func lostMeanwhile(r, w int, pause time.Duration) error {
	got := make(chan error, 1)
	go func() { runtime.LockOSThread(); got <- read(r) }()
	time.Sleep(pause)
	limit(r)
	_, err := unix.Write(w, []byte("x"))
	return all(err, <-got, failing("the next", read(r), notCapable))
}

// seekable is that fd lacks the right to seek.
func seekable(fd int) error { return failing("seek", seek(fd), notCapable) }

// swapping puts copies of a limited descriptor over one another, while others
// call by both numbers: none of them may ever be written to.
func swapping(t *T) func() error {
	a, b := t.file(), t.file()
	return func() error {
		limit(a, rights.Read)
		limit(b, rights.Read, rights.Fstat)
		spare, err := unix.Dup(a)
		stop("dup", err)
		stopped := until(func() error { return all(dup2(a, spare), dup2(b, a), dup2(spare, b)) })
		err = during(func() error {
			for _, fd := range []int{a, b, spare} {
				if err := failing("write", write(fd), notCapable); err != nil {
					return err
				}
			}
			return nil
		})
		return all(stopped(), err)
	}
}

// overwriting puts a limited and an unlimited descriptor of different files over
// one number in turn: the limited one's file is never written to.
func overwriting(t *T) func() error {
	limited, free, slot := t.file(), t.file(), t.file()
	return func() error {
		limit(limited, rights.Read, rights.Fstat, rights.Seek)
		stopped := until(func() error { return all(dup2(limited, slot), dup2(free, slot)) })
		err := during(func() error {
			if err := write(slot); err != nil && !notCapable.met(err) {
				return err
			}
			return nil
		})
		stop("swap", stopped())
		stop("write", err)
		b := make([]byte, 4096)
		stop("seek", seek(limited))
		n, err := unix.Read(limited, b)
		stop("read", err)
		for _, c := range b[:n] {
			if c != 0 {
				return fmt.Errorf("the limited file was written to")
			}
		}
		return nil
	}
}

// closing closes a limited number and makes it again from another limited one,
// while it is written to.
func closing(t *T) func() error {
	from := t.file()
	slot := need(unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 500))
	return func() error {
		limit(from, rights.Read)
		limit(slot, rights.Read)
		stopped := until(func() error {
			stop("close", unix.Close(slot))
			return dup2(from, slot)
		})
		err := during(func() error { return failing("write", write(slot), notCapable.or(badFD)) })
		return all(stopped(), err)
	}
}
