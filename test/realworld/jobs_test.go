//go:build realworld

package realworld

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestXZ compresses and decompresses: what ours makes Debian's reads, and the other
// way round.
func TestXZ(t *testing.T) {
	xz := programs[0]
	confined, debian := xz.binary(t, "confined"), xz.binary(t, "debian")
	plain := text(8 << 20)
	path := file(t, "plain", plain)
	for _, args := range [][]string{{"-c", "-1"}, {"-c", "-0", "-T2"}, {"-c", "-0", "--format=lzma"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			ours := output(t, confined, nil, append(args, path)...)
			if theirs := output(t, xz.binary(t, "plain"), nil, append(args, path)...); !bytes.Equal(ours, theirs) {
				t.Errorf("%d bytes with the library, %d without, and not the same", len(ours), len(theirs))
			}
			for name, xz := range map[string]string{"debian": debian, "confined": confined} {
				if got := output(t, xz, ours, "-dc"); !bytes.Equal(got, plain) {
					t.Errorf("%s makes something else of what was compressed confined", name)
				}
			}
			theirs := file(t, "theirs.xz", output(t, debian, plain, args...))
			if got := output(t, confined, nil, "-dc", theirs); !bytes.Equal(got, plain) {
				t.Error("decompressed confined, what Debian's has compressed is something else")
			}
			if len(ours) > len(plain)*2/3 {
				t.Errorf("%d bytes were compressed to %d", len(plain), len(ours))
			}
		})
	}
}

// TestXZDamaged has a message to print once the program is confined.
func TestXZDamaged(t *testing.T) {
	xz := programs[0]
	damaged := output(t, xz.binary(t, "debian"), text(1<<20), "-c")
	damaged[len(damaged)/2] ^= 1
	path := file(t, "damaged.xz", damaged)
	for _, kind := range []string{"confined", "plain"} {
		out, err := exec.Command(xz.binary(t, kind), "-dc", path).CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("Compressed data is corrupt")) {
			t.Errorf("%s: %v\n%.200s", kind, err, out)
		}
	}
}

// TestTcpdump prints packets, by a file's name and from a pipe, and with a filter.
func TestTcpdump(t *testing.T) {
	tcpdump := programs[1]
	packets := capture(20_000)
	path := file(t, "packets.pcap", packets)
	for _, args := range [][]string{{"-n"}, {"-n", "-vv", "-X"}, {"-n", "-e", "udp port 5000"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			want := output(t, tcpdump.binary(t, "debian"), nil, append(args, "-r", path)...)
			if n := bytes.Count(want, []byte("\n")); n < 5000 {
				t.Fatalf("Debian's prints %d lines", n)
			}
			if got := output(t, tcpdump.binary(t, "confined"), nil, append(args, "-r", path)...); !bytes.Equal(got, want) {
				t.Errorf("from a file: %d bytes and not %d", len(got), len(want))
			}
			if got := output(t, tcpdump.binary(t, "confined"), packets, append(args, "-r", "-")...); !bytes.Equal(got, want) {
				t.Errorf("from a pipe: %d bytes and not %d", len(got), len(want))
			}
		})
	}
}

// TestTcpdumpWrites copies packets to a file. Root's becomes the file of a user that
// the program then runs as.
func TestTcpdumpWrites(t *testing.T) {
	tcpdump := programs[1]
	packets := capture(20_000)
	path := file(t, "packets.pcap", packets)
	for _, kind := range []string{"confined", "plain", "debian"} {
		out := filepath.Join(t.TempDir(), "out.pcap")
		output(t, tcpdump.binary(t, kind), nil, "-n", "-r", path, "-w", out)
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, packets) {
			t.Errorf("%s: %d bytes were copied as %d", kind, len(packets), len(data))
		}
	}
}

// TestLowdown translates a document. Debian's own is of another version, which has
// other empty lines.
func TestLowdown(t *testing.T) {
	lowdown := programs[2]
	document := markdown(500)
	path := file(t, "document.md", document)
	empty := regexp.MustCompile(`\n+`)
	for _, to := range []string{"html", "man", "term", "latex"} {
		t.Run(to, func(t *testing.T) {
			want := output(t, lowdown.binary(t, "plain"), nil, "-t"+to, path)
			for name, got := range map[string][]byte{
				"from a file": output(t, lowdown.binary(t, "confined"), nil, "-t"+to, path),
				"from a pipe": output(t, lowdown.binary(t, "confined"), document, "-t"+to),
			} {
				if !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes and not %d", name, len(got), len(want))
				}
			}
		})
	}
	got := output(t, lowdown.binary(t, "confined"), nil, "-thtml", path)
	want := output(t, lowdown.binary(t, "debian"), nil, "-thtml", path)
	if !bytes.Equal(empty.ReplaceAll(got, []byte("\n")), empty.ReplaceAll(want, []byte("\n"))) {
		t.Errorf("Debian's says something else: %d bytes, %d bytes", len(got), len(want))
	}
}
