//go:build realworld

package realworld

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	bench = flag.Bool("realworld.bench", false, "measure how long the programs' jobs take")
	runs  = flag.Int("realworld.runs", 21, "how often each job is done in each build")
)

// TestSpeed prints a table of jobs done by the same source built with the library and
// without. The two take turns, so that what else the machine does meets both.
func TestSpeed(t *testing.T) {
	if !*bench {
		t.Skip("checks nothing; test/realworld/run bench measures")
	}
	xz, tcpdump, lowdown := programs[0], programs[1], programs[2]
	plain := file(t, "plain", text(96<<20))
	large := text(80 << 20)
	compressed := file(t, "large.xz", output(t, xz.binary(t, "plain"), large, "-c", "-0"))
	small := file(t, "small.xz", output(t, xz.binary(t, "plain"), large[:1000], "-c"))
	packets := file(t, "packets.pcap", capture(4_000_000))
	packet := file(t, "packet.pcap", capture(1))
	document := file(t, "document.md", markdown(10_000))
	section := file(t, "section.md", markdown(1))
	jobs := []struct {
		name string
		p    program
		args []string
	}{
		{"xz compresses 96 MiB", xz, []string{"-T1", "-0", "-c", plain}},
		{"xz compresses 96 MiB in two threads", xz, []string{"-T2", "--block-size=2MiB", "-0", "-c", plain}},
		{"xz decompresses to 80 MiB", xz, []string{"-dc", compressed}},
		{"tcpdump prints 4000000 packets", tcpdump, []string{"-n", "-r", packets}},
		{"lowdown translates 10000 sections", lowdown, []string{"-thtml", document}},
		{"xz decompresses 1000 bytes", xz, []string{"-dc", small}},
		{"tcpdump prints one packet", tcpdump, []string{"-n", "-r", packet}},
		{"lowdown translates one section", lowdown, []string{"-thtml", section}},
	}
	fmt.Printf("\n| job | not confined | confined | ratio | of the fastest | of processor time |\n" +
		"| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, job := range jobs {
		var times, work [2][]float64
		binaries := [2]string{job.p.binary(t, "plain"), job.p.binary(t, "confined")}
		for i := range *runs + 1 {
			for k := range 2 {
				k ^= i & 1 // neither is always the first
				wall, processor := duration(t, binaries[k], job.args)
				if i == 0 {
					continue // it reads the files
				}
				times[k], work[k] = append(times[k], wall), append(work[k], processor)
			}
		}
		a, b := at(times[0], 0.5), at(times[1], 0.5)
		fmt.Printf("| %s | %.1f ms | %.1f ms | %.3f | %.3f | %.3f |\n", job.name, a, b, b/a,
			at(times[1], 0)/at(times[0], 0), at(work[1], 0.5)/at(work[0], 0.5))
	}
}

// at is a quantile.
func at(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// duration is how long a job takes, and how long it has a processor, in milliseconds.
func duration(t *testing.T, path string, args []string) (wall, processor float64) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout = null
	// Otherwise glibc looks for the time zone at every packet, unless confined.
	cmd.Env = append(os.Environ(), "TZ=UTC0")
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v", path, strings.Join(args, " "), err)
	}
	wall = milliseconds(time.Since(begun))
	return wall, milliseconds(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime())
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
