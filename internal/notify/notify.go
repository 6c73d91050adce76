// Package notify speaks the seccomp user notification protocol: it receives
// calls, copies the caller's memory once, and answers with a value, an errno
// or a descriptor put into the caller's table.
//
// # When a call may be continued
//
// Continue lets the kernel carry out the call with what the caller's registers
// and memory hold at that later moment. Everything the caller can change
// meanwhile - memory, by another thread or another mapping; descriptors, by
// dup2 from another thread - is then different from what was looked at. So a
// call is continued only when
//
//   - the kernel itself enforces the same verdict on what it will read, and the
//     look was for a better errno only; or
//   - nothing is at stake: whatever the caller swaps in, it could have done
//     without asking.
//
// A call that was judged by what its pointers or descriptors mean is never
// continued; it is carried out here, on the copy, and answered. Continue takes
// the reason as an argument so that each use states which of the two it is.
//
// # Thread ids
//
// A notification names a thread by number, and numbers are reused. Whatever is
// learnt through the number (/proc, process_vm_readv, pidfd_open) counts only
// if Valid still holds afterwards.
package notify

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// ErrGone says that the caller no longer waits: it was killed, or a signal
// took it out of the call.
var ErrGone = errors.New("caller no longer waits for an answer")

// Notification is one received call.
type Notification = sys.SeccompNotif

// Listener owns the notification descriptor of one filter.
type Listener struct {
	fd   *sys.FD
	stop *sys.FD // eventfd: Shutdown was called
	sync bool
	// killable: once received, only a fatal signal takes a caller away.
	killable bool
	over     atomic.Bool

	mu        sync.Mutex
	receivers map[int]struct{} // threads inside Receive
	left      *sync.Cond       // a receiver left
}

// NewListener takes ownership of a notification descriptor. It returns an
// error, and the descriptor stays the caller's, when the kernel's structures
// are not the ones known here.
func NewListener(fd *sys.FD) (*Listener, error) {
	if err := sys.ProbeNotify(); err != nil {
		return nil, err
	}
	if err := sys.InstallInterrupt(); err != nil {
		return nil, err
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	l := &Listener{fd: fd, stop: sys.NewFD(stop), receivers: make(map[int]struct{})}
	l.left = sync.NewCond(&l.mu)
	l.killable = sys.HasWaitKillable()
	l.sync = sys.NotifSyncWakeUp(fd.Int()) == nil
	go l.watch()
	return l, nil
}

// SyncWakeUp reports whether the kernel hands the processor straight to the
// other side (Linux 6.6).
func (l *Listener) SyncWakeUp() bool { return l.sync }

// watch waits for the end of the last filtered process, or for Shutdown, and
// then drives every receiver out of the kernel. Before Linux 6.11 nothing else
// wakes a receiver whose filter has no users left.
func (l *Listener) watch() {
	fds := []unix.PollFd{{Fd: int32(l.fd.Int())}, {Fd: int32(l.stop.Int()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		// POLLERR is no end: the kernel says it when a signal comes while it waits for
		// the lock of the filter's queue. Any other error can only be one of ours;
		// receivers must not hang on it.
		if err == unix.EINTR || err == nil && fds[0].Revents == unix.POLLERR && fds[1].Revents == 0 {
			continue
		}
		break
	}
	l.over.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.receivers) > 0 {
		// Repeated, because a signal that arrives just before the thread
		// enters the kernel is lost.
		for tid := range l.receivers {
			_ = sys.InterruptThread(tid) // the thread is inside Receive, so it exists
		}
		l.mu.Unlock()
		time.Sleep(time.Millisecond)
		l.mu.Lock()
	}
	l.left.Broadcast()
}

// Receive waits for the next call. It returns io.EOF once no process is left
// that carries the filter, or after Shutdown.
func (l *Listener) Receive() (Notification, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := unix.Gettid()
	l.mu.Lock()
	l.receivers[tid] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.receivers, tid)
		l.left.Broadcast() // it may have come when nobody drove it out any more
		l.mu.Unlock()
	}()
	var n Notification
	for {
		if l.over.Load() {
			return Notification{}, io.EOF
		}
		switch err := sys.NotifRecv(l.fd.Int(), &n); err {
		case nil:
			return n, nil
		case unix.EINTR, unix.ENOENT, unix.EAGAIN:
			// A signal, or the caller died on the way here.
		case unix.ENOTCONN:
			return Notification{}, io.EOF // 6.11: no users left
		default:
			return Notification{}, fmt.Errorf("receive seccomp notification: %w", err)
		}
	}
}

// Shutdown makes every Receive, now and later, return io.EOF. Calls already
// received can still be answered.
func (l *Listener) Shutdown() {
	_, _ = unix.Write(l.stop.Int(), []byte{1, 0, 0, 0, 0, 0, 0, 0}) // only fails when already readable
}

// Close shuts l down, waits until nobody receives, and closes the descriptor:
// the kernel then fails every waiting and later call with ENOSYS.
func (l *Listener) Close() error {
	l.Shutdown()
	l.mu.Lock()
	for !l.over.Load() || len(l.receivers) > 0 {
		l.left.Wait()
	}
	l.mu.Unlock()
	return errors.Join(l.fd.Close(), l.stop.Close())
}

// Valid reports whether the caller of notification id still waits. Only then
// is what was learnt through its thread id about the caller.
func (l *Listener) Valid(id uint64) bool {
	return sys.Retry(func() error { return sys.NotifIDValid(l.fd.Int(), id) }) == nil
}

// Respond ends the call with errno, or with val when errno is 0.
func (l *Listener) Respond(id uint64, val int64, errno unix.Errno) error {
	r := sys.SeccompNotifResp{ID: id, Val: val, Error: -int32(errno)}
	if errno != 0 {
		r.Val = 0
	}
	return l.send(&r)
}

// Continue lets the kernel carry out the call. See the package comment for
// when that is allowed; reason says which case it is, and must not be empty.
func (l *Listener) Continue(id uint64, reason string) error {
	if reason == "" {
		return l.Respond(id, 0, unix.EPERM)
	}
	return l.send(&sys.SeccompNotifResp{ID: id, Flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

func (l *Listener) send(r *sys.SeccompNotifResp) error {
	err := sys.Retry(func() error { return sys.NotifSend(l.fd.Int(), r) })
	return answered("answer seccomp notification", err)
}

// Inject copies our descriptor src into the table of the caller of notification
// id and ends the call with its number there. src stays ours. The caller's
// RLIMIT_NOFILE applies; after an error other than ErrGone the call still waits
// for an answer.
//
// The kernel can do both at once, but not safely: a signal that reaches this
// thread in between, or a stop, which nothing blocks, marks the call answered
// without having answered it. The restarted ioctl reports ENOENT, and the
// caller sees 0, which is somebody else's descriptor. Where a received call can
// only be killed, two steps do the same and can be interrupted anywhere. Before
// Linux 5.19 any signal could take the caller away between the two, and leave
// it a descriptor it knows nothing of; there the one step is taken, with
// signals blocked.
func (l *Listener) Inject(id uint64, src int, cloexec bool) (int, error) {
	req := sys.SeccompNotifAddFD{ID: id, SrcFD: uint32(src)}
	if cloexec {
		req.NewFDFlags = unix.O_CLOEXEC
	}
	if !l.killable {
		return l.injectAtOnce(req)
	}
	n, err := l.add(&req)
	if err != nil {
		return -1, err
	}
	return n, l.Respond(id, int64(n), 0)
}

// Put copies our descriptor src into the table of the caller of notification id,
// which goes on waiting, and returns its number there: num, whatever was open
// under it, or the lowest free one for num < 0.
func (l *Listener) Put(id uint64, src, num int, cloexec bool) (int, error) {
	req := sys.SeccompNotifAddFD{ID: id, SrcFD: uint32(src)}
	if cloexec {
		req.NewFDFlags = unix.O_CLOEXEC
	}
	if num >= 0 {
		req.Flags, req.NewFD = unix.SECCOMP_ADDFD_FLAG_SETFD, uint32(num)
	}
	return l.add(&req)
}

func (l *Listener) injectAtOnce(req sys.SeccompNotifAddFD) (int, error) {
	req.Flags |= unix.SECCOMP_ADDFD_FLAG_SEND
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := sys.AllSignals()
	if err != nil {
		return -1, fmt.Errorf("block signals: %w", err)
	}
	n, err := l.add(&req)
	if rerr := sys.RestoreSignals(old); rerr != nil && err == nil {
		return -1, fmt.Errorf("restore signals: %w", rerr)
	}
	return n, err
}

func (l *Listener) add(req *sys.SeccompNotifAddFD) (n int, err error) {
	err = sys.Retry(func() (err error) { n, err = sys.NotifAddFD(l.fd.Int(), req); return err })
	if err != nil {
		return -1, answered("add descriptor to caller", err)
	}
	return n, nil
}

// answered turns the errnos that say "nobody waits" into ErrGone.
func answered(what string, err error) error {
	switch err {
	case nil:
		return nil
	case unix.ENOENT, unix.EINPROGRESS:
		return fmt.Errorf("%s: %w", what, ErrGone)
	}
	return fmt.Errorf("%s: %w", what, err)
}
