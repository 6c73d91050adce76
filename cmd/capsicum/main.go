// Capsicum runs an unmodified program that holds only what it was granted.
// See capsicum(1).
package main

import (
	"os"

	_ "github.com/capsicum-go/capsicum/internal/attach" // C programs start it as their supervisor
	"github.com/capsicum-go/capsicum/internal/cli"
	"github.com/capsicum-go/capsicum/internal/launch"
	"github.com/capsicum-go/capsicum/internal/probe"
)

func main() {
	launch.Stage()
	probe.Stage()
	os.Exit(cli.Main(os.Args[1:], cli.Std()))
}
