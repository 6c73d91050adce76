package static

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/filecaps"
	"github.com/capsicum-go/capsicum/internal/slot"
	"github.com/capsicum-go/capsicum/internal/sysno"
	"github.com/capsicum-go/capsicum/rights"
)

// measured are cases that print how long something takes, in nanoseconds.
var measured = map[string]func(*check){"reads": readsCase, "limits": limitsCase}

const rightsVariable = "CAPSICUM_STATIC_RIGHTS"

// hot are the calls that filters stacked above a supervisor's are about.
var hot = strings.Fields("read readv recvfrom getdents getdents64 write writev pread64 preadv pwrite64 pwritev lseek sendto mmap " +
	"epoll_wait epoll_pwait epoll_pwait2")

// readsCase reads from a descriptor that is not limited, below a number of filters
// for others.
func readsCase(c *check) {
	stacked, err := strconv.Atoi(os.Getenv(numberVariable))
	c.must("number", err)
	set, err := rights.Parse(os.Getenv(rightsVariable))
	c.must("rights", err)
	fd, err := unix.Open("/dev/zero", unix.O_RDONLY, 0)
	c.must("open", err)
	caps, err := filecaps.Full().LimitRights(set)
	c.must("caps", err)
	for i := range stacked {
		prog, err := slot.Descriptor(sysno.Native, 300+i, caps, slot.Options{Only: hot})
		c.must("compile", err)
		c.must("install", Install(prog))
	}
	const rounds = 200_000
	best := time.Hour
	for range 5 {
		start := time.Now()
		for range rounds {
			if _, err := unix.Read(fd, one); err != nil {
				c.must("read", err)
			}
		}
		best = min(best, time.Since(start))
	}
	fmt.Println("ns", best.Nanoseconds()/rounds)
}

// limitsCase limits descriptors one after the other.
func limitsCase(c *check) {
	const limits = 100
	null := make([]int, limits)
	for i := range null {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
		c.must("open", err)
		null[i] = fd
	}
	set := rights.Of(rights.Read, rights.Fstat)
	c.must("first limit", LimitRights(null[0], set)) // makes the tables
	start := time.Now()
	for _, fd := range null[1:] {
		c.must("limit", LimitRights(fd, set))
	}
	fmt.Println("ns", time.Since(start).Nanoseconds()/(limits-1))
}

func measure(b *testing.B, name string, env ...string) {
	for b.Loop() {
		out, err := child(name, env...).CombinedOutput()
		var ns int
		if _, scan := fmt.Sscanf(string(out), "ns %d", &ns); err != nil || scan != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		b.ReportMetric(float64(ns), "ns/call")
	}
}

// BenchmarkRead is read(2) of a descriptor that is not limited, below filters for
// others: ones that have the right to read, for which the kernel runs no filter,
// and ones that have not.
func BenchmarkRead(b *testing.B) {
	for _, have := range []string{"read", "fstat"} {
		for _, stacked := range []int{0, 1, 8, 64, 250} {
			b.Run(fmt.Sprintf("others have %s/%d", have, stacked), func(b *testing.B) {
				measure(b, "reads", numberVariable+"="+strconv.Itoa(stacked), rightsVariable+"="+have)
			})
		}
	}
}

// BenchmarkLimit is one limit, up to a hundred descriptors.
func BenchmarkLimit(b *testing.B) { measure(b, "limits") }

// BenchmarkCompile is the part of a limit that is ours.
func BenchmarkCompile(b *testing.B) {
	caps, err := filecaps.Full().LimitRights(rights.Of(rights.Read, rights.Fstat))
	if err != nil {
		b.Fatal(err)
	}
	for name, o := range map[string]slot.Options{"static": {Static: true}, "supervised": {Only: hot}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := slot.Descriptor(sysno.Native, 7, caps, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
