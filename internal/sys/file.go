package sys

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ReadAt reads from the file behind f at an offset, as [io.ReaderAt] has it. An
// [os.File] of the same descriptor would bring along a finalizer, with a
// goroutine to run it, and a poller: costs of a start.
func (f *FD) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		var more int
		err := Retry(func() (err error) { more, err = unix.Pread(f.Int(), b[n:], off+int64(n)); return err })
		switch {
		case err != nil:
			return n, err
		case more == 0:
			return n, io.EOF
		}
		n += more
	}
	return n, nil
}

// ReadFileAt reads the whole of a small file, such as procfs has them, by its name
// beneath dir. Like [FD.ReadAt] it does without an [os.File].
func ReadFileAt(dir int, name string) ([]byte, error) {
	var n int
	err := Retry(func() (err error) { n, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0); return err })
	if err != nil {
		return nil, err
	}
	f := NewFD(n)
	defer f.Close()
	return readAll(func(b []byte) (int, error) { return unix.Read(f.Int(), b) })
}

func readAll(read func([]byte) (int, error)) ([]byte, error) {
	buf := make([]byte, 0, 2048)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, cap(buf))...)[:len(buf)]
		}
		n, err := read(buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return buf, nil
		default:
			buf = buf[:len(buf)+n]
		}
	}
}

// NumbersAt lists the numbers that a directory of procfs has names of: processes,
// threads, descriptors. The directory is a name beneath dir. It does without an
// [os.File], too.
func NumbersAt(dir int, name string) ([]int, error) {
	var n int
	err := Retry(func() (err error) {
		n, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	fd := NewFD(n)
	defer fd.Close()
	return readNumbers(func(b []byte) (int, error) { return unix.ReadDirent(fd.Int(), b) })
}

func readNumbers(read func([]byte) (int, error)) ([]int, error) {
	buf := make([]byte, 16<<10)
	var numbers []int
	for {
		n, err := read(buf)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n <= 0:
			return numbers, nil
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if number, err := strconv.Atoi(name); err == nil {
				numbers = append(numbers, number)
			}
		}
	}
}

// WriteFile writes to a file of procfs, which takes all in one call.
func WriteFile(name string, content []byte) error {
	n, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := NewFD(n)
	defer f.Close()
	return Retry(func() error { _, err := unix.Write(f.Int(), content); return err })
}

// StatFields returns the fields of a /proc/PID/stat that follow the name in
// parentheses, which may hold anything: the state first, field 3 of
// proc_pid_stat(5). None means that it is no such file's.
func StatFields(stat []byte) []string {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return nil
	}
	return strings.Fields(string(stat[i+1:]))
}

// Parent returns the process that a process or thread is a child of, as the proc file
// system of descriptor proc has it; 0 if it has none there.
func Parent(proc, pid int) int {
	const ppidField = 4 - 3
	text, err := ReadFileAt(proc, strconv.Itoa(pid)+"/stat")
	fields := StatFields(text)
	if err != nil || len(fields) <= ppidField {
		return 0
	}
	parent, err := strconv.Atoi(fields[ppidField])
	if err != nil {
		return 0
	}
	return parent
}
