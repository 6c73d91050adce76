//go:build linux || freebsd

package conformance

// pending lists cases that are not met and shall be. They are told, and fail the
// suite under -conformance.strict only.
var pending = map[string]string{
	"processes/in a child: kill of its parent":           "The static form's filter knows its process by the number that it had, which for a child is its parent's.",
	"mmap/mprotect to execute what was mapped privately": "A private mapping made without mmap_x can be made executable later.",
}
