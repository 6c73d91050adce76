//go:build cgo && linux && !clibrary

package conformance

func init() { Inexact = append(Inexact, InexactWithC...) }
