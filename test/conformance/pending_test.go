//go:build linux || freebsd

package conformance

// pending lists cases that are not met and shall be. They are told, and fail the
// suite under -conformance.strict only.
var pending = map[string]string{
	"capability-mode/pidfd_open of itself":                  "Capability mode refuses a descriptor of the process itself, which names nobody else.",
	"capability-mode/bind of a descriptor without rights":   "The filter of a limit made in capability mode hides capability mode's answer for bind.",
	"capability-mode/fchdir of a descriptor without rights": "The same for fchdir.",
	"sockets/in capability mode, bind without the right":    "The same for bind.",
	"processes/in a child: kill of its parent":              "The static form's filter knows its process by the number that it had, which for a child is its parent's.",
	"mmap/mprotect to execute what was mapped privately":    "A private mapping made without mmap_x can be made executable later.",
}
