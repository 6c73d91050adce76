//go:build !linux && !freebsd

package shm

import "os"

func create(bool) (*os.File, error)                 { return nil, ErrNotSupported }
func mapFile(int, int64, int, Prot) ([]byte, error) { return nil, ErrNotSupported }
func unmap([]byte) error                            { return ErrNotSupported }
func addSeals(int, Seals) error                     { return ErrNotSupported }
func getSeals(int) (Seals, error)                   { return 0, ErrNotSupported }
