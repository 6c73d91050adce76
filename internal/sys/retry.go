package sys

import "golang.org/x/sys/unix"

// Retry runs f until it returns something other than EINTR.
func Retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
