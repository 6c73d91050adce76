package procdesc

import (
	"os/exec"
	"testing"
)

// BenchmarkStart and BenchmarkExec start a child, have it exit, and wait for it.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p, err := Start(exec.Command("/bin/true"))
		if err != nil {
			b.Fatal(err)
		}
		if e, err := p.Wait(); err != nil || !e.Success() {
			b.Fatal(e, err)
		}
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExec(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}
