//go:build cgo && linux && clibrary

package conformance

import "github.com/capsicum-go/capsicum/test/conformance/clibrary"

func init() { lib = clibrary.Library{} }
