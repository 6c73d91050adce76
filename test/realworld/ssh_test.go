//go:build realworld

package realworld

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A server of one connection, on its standard input and output. Until somebody has
// logged in, a child talks to whoever is there: without a root directory or a user of
// its own where the server is root's, without leave to make a process or to write a
// file, and with a filter for each descriptor.
type server struct {
	path, config, key string
}

func newServer(t *testing.T, kind string) server {
	t.Helper()
	dir := t.TempDir()
	s := server{filepath.Join(built(t), kind, "sshd"), filepath.Join(dir, "config"), filepath.Join(dir, "key")}
	for _, name := range []string{"host", "key"} {
		output(t, "ssh-keygen", nil, "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name))
	}
	config := fmt.Sprintf("HostKey %s\nAuthorizedKeysFile %s\n"+
		"SshdSessionPath %s-session\nSshdAuthPath %s-auth\n"+
		"StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n",
		filepath.Join(dir, "host"), s.key+".pub", s.path, s.path)
	if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSSH logs in with a key and fetches a file. Nobody can, so that only root does, or
// whoever runs the tests.
func TestSSH(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	want := text(4 << 20)
	path := file(t, "large", want)
	for _, kind := range []string{"confined", "plain"} {
		t.Run(kind, func(t *testing.T) {
			s := newServer(t, kind)
			got := filepath.Join(t.TempDir(), "got")
			output(t, "sftp", fmt.Appendf(nil, "get %s %s\n", path, got), "-F", "none", "-b", "-", "-i", s.key,
				"-o", "ProxyCommand="+s.path+" -i -f "+s.config+" -E "+s.config+".log",
				"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", me.Username+"@here")
			if data, err := os.ReadFile(got); err != nil || !bytes.Equal(data, want) {
				t.Errorf("%d bytes arrived as %d: %v", len(want), len(data), err)
			}
		})
	}
}

// TestSSHConfined tries what the child must not do, from within it.
func TestSSHConfined(t *testing.T) {
	for _, kind := range []string{"confined", "plain"} {
		t.Run(kind, func(t *testing.T) {
			s := newServer(t, kind)
			cmd := exec.Command(s.path, "-i", "-f", s.config, "-E", s.config+".log")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			child := converse(t, cmd.Process.Pid, in, out)
			attempt(t, child, func(a action, got int64) bool {
				switch {
				case kind == "confined":
					return got == a.want["static"]
				case os.Geteuid() != 0 && strings.HasPrefix(a.name, "open"):
					return works(got)
				}
				return got != capabilityMode && got != notCapable
			})
			if n := len(supervisors(t, child)); n != 0 {
				t.Errorf("%d supervisors", n)
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // it complains that nobody has logged in
		})
	}
}

// converse begins to speak, and finds the process that answers.
func converse(t *testing.T, server int, in io.Writer, out io.Reader) int {
	t.Helper()
	if _, err := io.WriteString(in, "SSH-2.0-realworld\r\n"); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(out)
	if line, err := reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, "SSH-2.0-OpenSSH") {
		t.Fatalf("the server says %q: %v", line, err)
	}
	if _, err := reader.Peek(100); err != nil { // the child's list of algorithms
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		files, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, _ := os.ReadFile(name) // of a process that has ended there is none
			fields := strings.Fields(string(text))
			if len(fields) > 3 && fields[1] == "(sshd-auth)" && fields[3] == strconv.Itoa(server) {
				pid, err := strconv.Atoi(fields[0])
				if err != nil {
					t.Fatal(err)
				}
				return pid
			}
		}
	}
	t.Fatal("no child talks")
	return 0
}
