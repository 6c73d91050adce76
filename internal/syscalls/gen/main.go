// Gen writes what is made from the table of system calls: docs/syscalls.md, and
// the filters that are compiled ahead. It runs in the table's directory.
package main

import (
	"log"
	"os"

	"github.com/capsicum-go/capsicum/internal/syscalls"
	"github.com/capsicum-go/capsicum/internal/sysno"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	write("../../docs/syscalls.md", syscalls.Markdown())
	for _, arch := range sysno.Arches() {
		filters, err := syscalls.CompileAhead(arch)
		if err != nil {
			log.Fatal(err)
		}
		write("ahead_"+arch.String()+".bin", filters)
	}
}

func write(name string, content []byte) {
	if err := os.WriteFile(name, content, 0o644); err != nil {
		log.Fatal(err)
	}
}
