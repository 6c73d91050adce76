//go:build cgo && linux

package conformance

// In a program with cgo nothing can be executed in capability mode: Landlock has to
// be on every thread, and not all of them are the runtime's.
func init() {
	for _, name := range []string{"a static program", "a static program, with the right", "no program", "descriptors keep their limits"} {
		Inexact = append(Inexact, inexactCase{"exec/" + name, supervised, "Landlock, which keeps the kernel from executing names, can't be " +
			"put on the threads that C has made."})
	}
}
