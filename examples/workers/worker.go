package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// size is how many numbers a part has.
const size = 1000

// worker adds up the numbers of its part. It is a bad one: the first to get part 2
// dies, and with the environment HANG none ever ends.
func worker(args []string) {
	part, err := strconv.Atoi(args[0])
	if err != nil || len(args) != 2 {
		os.Exit(2)
	}
	if os.Getenv("HANG") != "" {
		fmt.Printf("part %d: hangs\n", part)
		time.Sleep(time.Hour)
	}
	if part == 2 && args[1] == "0" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Hour)
	}
	if _, err := os.Open("/etc/passwd"); err == nil {
		os.Exit(3) // it should not be able to
	}
	sum := 0
	for n := part * size; n < (part+1)*size; n++ {
		sum += n
	}
	fmt.Printf("part %d: %d\n", part, sum)
}
