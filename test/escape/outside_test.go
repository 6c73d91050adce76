//go:build linux && amd64

package escape

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The outside is a process of the same user that no sandbox confines and that
// does everything it can to help one out: it offers a descriptor of "/" to
// whoever connects, connects to whatever is bound, lets itself be traced, and
// notes what reaches it.

// outsideEnv holds the tree the outside serves; it marks the process as one.
const outsideEnv = "CAPSICUM_ESCAPE_OUTSIDE"

// hello is what the outside says when it is ready.
type hello struct {
	PID, TCP, UDP int
}

// outside is the harness's handle on it.
type outside struct {
	hello
	cmd   *exec.Cmd
	stdin io.Closer
}

// startOutside starts an outside for tree as user uid.
func startOutside(t *testing.T, p *programs, tree string, uid int) *outside {
	t.Helper()
	cmd := exec.Command(p.test)
	cmd.Env = []string{outsideEnv + "=" + tree}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: credential(uid), Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	o := &outside{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(line), &o.hello)
	}
	if err != nil {
		o.stop()
		t.Fatalf("start outside: %v", err)
	}
	return o
}

func (o *outside) stop() {
	o.stdin.Close()
	_ = o.cmd.Process.Kill()
	_ = o.cmd.Wait()
}

// lastSignal is delivered when all others that are pending have been.
const lastSignal = syscall.Signal(64)

// settle waits until the outside has noted all the datagrams and signals that were sent to it.
func (o *outside) settle(st *stage) error {
	name := st.in("s/dsock")
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("settled")); err != nil { // waits where the queue is full
		return err
	}
	if err := o.cmd.Process.Signal(lastSignal); err != nil {
		return fmt.Errorf("signal the outside: %w", err)
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if st.changed("s/m-settled") && st.signalled(strconv.Itoa(int(lastSignal))) {
			return nil
		}
	}
	return fmt.Errorf("the outside has not noted what was sent to it: %w", os.ErrDeadlineExceeded)
}

// abstractName is the abstract name that belongs to tree.
func abstractName(tree, kind string) string {
	return "@" + strings.ReplaceAll(strings.TrimPrefix(tree, "/"), "/", ".") + "-" + kind
}

// runOutside is the outside's main. It ends with its standard input.
func runOutside(tree string) error {
	if err := unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0); err != nil && err != unix.EINVAL {
		return err // EINVAL: no Yama
	}
	noteSignals(filepath.Join(tree, "signals"))
	root, err := os.Open("/")
	if err != nil {
		return err
	}
	for _, kind := range []string{"stream", "seqpacket"} {
		for _, name := range []string{tree + "/s/o-" + kind, tree + "/g/o-" + kind, abstractName(tree, kind)} {
			if err := offer(kind, name, "S", root); err != nil {
				return err
			}
		}
	}
	for name, banner := range map[string]string{"/s/sock": "S", "/g/sock": "G"} {
		if err := offer("stream", tree+name, banner, nil); err != nil {
			return err
		}
	}
	for _, name := range []string{tree + "/s/dsock", tree + "/s/o-dgram", tree + "/g/o-dgram", abstractName(tree, "dgram")} {
		if err := collect(tree, name); err != nil {
			return err
		}
	}
	if err := collect("", tree+"/g/dsock"); err != nil {
		return err
	}
	go tick(filepath.Join(tree, "s/d"))
	for _, name := range []string{tree + "/g/in", tree + "/s/in", abstractName(tree, "in")} {
		go intrude(name, root)
	}
	h := hello{PID: os.Getpid()}
	if err := h.serve(); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(h); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// noteSignals writes a line for every signal that arrives.
func noteSignals(name string) {
	c := make(chan os.Signal, 1000)
	signal.Notify(c)
	go func() {
		for s := range c {
			if s == syscall.SIGURG {
				continue // the runtime's own
			}
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
			if err != nil {
				continue
			}
			fmt.Fprintf(f, "%d\n", s.(syscall.Signal))
			f.Close()
		}
	}()
}

// offer listens on name and gives each caller banner and a copy of gift.
func offer(kind, name, banner string, gift *os.File) error {
	network := map[string]string{"stream": "unix", "seqpacket": "unixpacket"}[kind]
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: name, Net: network})
	if err != nil {
		return err
	}
	var oob []byte
	if gift != nil {
		oob = unix.UnixRights(int(gift.Fd()))
	}
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			// The caller may be gone already; nothing is owed to it.
			_, _, _ = c.WriteMsgUnix([]byte(banner), oob, nil)
			go func() { // held until the caller has read
				_, _ = io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	return nil
}

// collect receives datagrams on name and touches s/m-TEXT of tree for each.
func collect(tree, name string) error {
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	go func() {
		b := make([]byte, 64)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			if tree != "" {
				now := time.Now()
				_ = os.Chtimes(filepath.Join(tree, "s/m-"+string(b[:n])), now, now) // text of no attempt: no file
			}
		}
	}()
	return nil
}

// tick makes things happen in dir, so that a watch on it shows.
func tick(dir string) {
	for {
		name := filepath.Join(dir, "tick")
		_ = os.WriteFile(name, nil, 0o644)
		_ = os.Remove(name)
		time.Sleep(2 * time.Millisecond)
	}
}

// intrude connects to name whenever it is there and hands gift over.
func intrude(name string, gift *os.File) {
	for {
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
		if err == nil {
			_, _, _ = c.WriteMsgUnix([]byte("S"), unix.UnixRights(int(gift.Fd())), nil)
			time.Sleep(200 * time.Millisecond)
			c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// kept holds what would be closed when the collector finds it unused.
var kept []io.Closer

// serve listens on the loopback addresses of both families.
func (h *hello) serve() error {
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h.TCP = tcp.Addr().(*net.TCPAddr).Port
	tcp6, err := net.Listen("tcp6", fmt.Sprintf("[::1]:%d", h.TCP))
	if err != nil {
		return err
	}
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h.UDP = udp.LocalAddr().(*net.UDPAddr).Port
	udp6, err := net.ListenPacket("udp6", fmt.Sprintf("[::1]:%d", h.UDP))
	kept = append(kept, tcp, tcp6, udp, udp6)
	return err
}
