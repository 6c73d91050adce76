//go:build linux

// Dockerlike runs its arguments as Docker's default profile would let them run.
//
//	dockerlike capsicum doctor
package main

import (
	"fmt"
	"os"

	"github.com/capsicum-go/capsicum/test/dockerlike/profile"
)

func main() {
	fmt.Fprintf(os.Stderr, "dockerlike: %v\n", profile.Exec(os.Args[1:]))
	os.Exit(125)
}
