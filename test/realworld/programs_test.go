//go:build realworld

package realworld

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A program and the job that it is interrupted in.
type program struct {
	name string
	args []string
	// input is what it reads from its standard input.
	input func(t *testing.T) []byte
	// stayRoot is what keeps it from becoming another user than root.
	stayRoot []string
}

var programs = []program{
	{name: "xz", args: []string{"-dc"}, input: func(t *testing.T) []byte {
		return output(t, "/usr/bin/xz", text(4<<20), "-T1", "-1", "-c")
	}},
	{name: "tcpdump", args: []string{"-n", "-r", "-"}, stayRoot: []string{"-Z", "root"}, input: func(*testing.T) []byte {
		return capture(30_000)
	}},
	{name: "lowdown", args: []string{"-thtml"}, input: func(*testing.T) []byte { return markdown(3000) }},
}

// binary is a program in the build with the library ("confined"), without ("plain"),
// or Debian's own ("debian").
func (p program) binary(t *testing.T, kind string) string {
	t.Helper()
	if kind == "debian" {
		path, err := exec.LookPath(p.name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	return filepath.Join(built(t), kind, p.name)
}

// built is where test/realworld/run has put the programs.
func built(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("REALWORLD")
	if dir == "" {
		t.Fatal("REALWORLD is not set; test/realworld/run builds the programs and does")
	}
	return dir
}

// output runs a command that must succeed, with an input, in an empty directory.
func output(t *testing.T, path string, input []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Dir = t.TempDir()
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", path, strings.Join(args, " "), err, &complaints)
	}
	return out.Bytes()
}

// file writes a file to a directory of the test's own.
func file(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// text is n bytes of words, which compress about as well as a language does.
func text(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 5000)
	for i := range words {
		letters := make([]byte, 2+random.IntN(9))
		for j := range letters {
			letters[j] = byte('a' + random.IntN(26)*random.IntN(26)/26)
		}
		words[i] = string(letters)
	}
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[random.IntN(len(words))*random.IntN(len(words))/len(words)])
		b.WriteByte(" \n"[random.IntN(9)/8])
	}
	return b.Bytes()[:n]
}

// markdown has n sections.
func markdown(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "# Section %d\n\nSome *text* with `code` and a [link](http://example.org/%d).\n\n- one\n- two\n\n> quoted\n\n", i, i)
	}
	return b.Bytes()
}

// capture is a file of pcap with n packets: TCP, UDP and ICMP over IPv4 in Ethernet. There
// are no more conversations than clients: tcpdump walks a list of those that it has seen,
// and that a million of them wait for memory is all that would be measured.
func capture(n int) []byte {
	var b []byte
	b = binary.LittleEndian.AppendUint32(b, 0xa1b2c3d4)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	for _, word := range []uint32{0, 0, 65535, 1} { // time zone, accuracy, longest, Ethernet
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for i := range n {
		packet := ethernet(random, i)
		for _, word := range []uint32{1_700_000_000 + uint32(i/1000), uint32(i%1000) * 1000, uint32(len(packet)), uint32(len(packet))} {
			b = binary.LittleEndian.AppendUint32(b, word)
		}
		b = append(b, packet...)
	}
	return b
}

const clients = 64

// ethernet is a frame with the i-th packet.
func ethernet(random *rand.Rand, i int) []byte {
	var body []byte
	protocol := []byte{6, 17, 1}[i%3]
	data := make([]byte, random.IntN(200))
	switch protocol {
	case 6: // TCP: ports, sequence, acknowledged, length of header and PSH|ACK, window
		body = binary.BigEndian.AppendUint16(body, uint16(1024+random.IntN(clients)))
		body = binary.BigEndian.AppendUint16(body, 443)
		body = binary.BigEndian.AppendUint32(body, random.Uint32())
		body = binary.BigEndian.AppendUint32(body, random.Uint32())
		body = append(body, 0x50, 0x18, 0x10, 0, 0, 0, 0, 0)
	case 17:
		body = binary.BigEndian.AppendUint16(body, uint16(1024+random.IntN(clients)))
		body = binary.BigEndian.AppendUint16(body, 5000)
		body = binary.BigEndian.AppendUint16(body, uint16(8+len(data)))
		body = append(body, 0, 0)
	case 1: // an echo request
		body = append(body, 8, 0, 0, 0, 0, 1)
		body = binary.BigEndian.AppendUint16(body, uint16(i))
	}
	body = append(body, data...)
	frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, 0x45, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(20+len(body)))
	frame = binary.BigEndian.AppendUint16(frame, uint16(i))
	frame = append(frame, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, byte(1+i%200), 198, 51, 100, byte(1+i%100))
	return append(frame, body...)
}

// asUser is who the tests are run as beside root: nobody.
var asUser = &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{}}
