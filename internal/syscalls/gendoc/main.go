// Gendoc writes docs/syscalls.md from the table of system calls.
package main

import (
	"log"
	"os"

	"github.com/capsicum-go/capsicum/internal/syscalls"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gendoc: ")
	if len(os.Args) != 2 {
		log.Fatal("usage: gendoc FILE")
	}
	if err := os.WriteFile(os.Args[1], syscalls.Markdown(), 0o644); err != nil {
		log.Fatal(err)
	}
}
