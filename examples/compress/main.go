// Command compress writes a gzip-compressed copy of a file beside it.
//
// It opens both files, keeps of each descriptor what it is for, and gives up
// everything else before it looks at the first byte. See README.md.
package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/rights"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: compress FILE")
		os.Exit(2)
	}
	if err := compress(os.Args[1], confine, deflate); err != nil {
		fmt.Fprintf(os.Stderr, "compress: %v\n", err)
		os.Exit(1)
	}
}

// compress opens name and name.gz, which must not exist, confines the process to
// the two, and only then works. What it is confined by and what the work is are
// arguments because the tests put worse in their place.
func compress(name string, confine func(in, out *os.File) error, work func(out, in *os.File) error) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	// Created by os.Create, out could be read as well; its rights will not say so.
	out, err := os.OpenFile(name+".gz", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err := confine(in, out); err != nil {
		return errors.Join(err, out.Close(), os.Remove(out.Name()))
	}
	// No way back from here: out cannot even be removed if this fails.
	return errors.Join(work(out, in), out.Close())
}

// confine leaves the process with a file to read, a file to write, and a place for
// its last words.
func confine(in, out *os.File) error {
	for _, limit := range []struct {
		file *os.File
		to   []rights.Right
	}{
		{in, []rights.Right{rights.Read, rights.Fstat}},
		{out, []rights.Right{rights.Write, rights.Fstat}},
		{os.Stdin, nil},
		{os.Stdout, nil},
		{os.Stderr, []rights.Right{rights.Write}},
	} {
		if err := capsicum.Limit(limit.file, limit.to...); err != nil {
			return fmt.Errorf("%s: %w", limit.file.Name(), err)
		}
	}
	return capsicum.Enter()
}

// deflate is the work: what meets the input, and what a bad input would take over.
func deflate(out, in *os.File) error {
	z := gzip.NewWriter(out)
	if _, err := io.Copy(z, in); err != nil {
		return err
	}
	return z.Close()
}
