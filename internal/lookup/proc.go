package lookup

// ProcKind says what a name beneath /proc is.
type ProcKind uint8

// The kinds.
const (
	ProcFile  ProcKind = iota // a file, or anything that is not one of the others
	ProcDir                   // a directory
	ProcLink                  // an ordinary symlink: "self"
	ProcMagic                 // a link to an object that has perhaps no name: "123/fd/4"
)

// ProcStep is one name found beneath /proc.
type ProcStep struct {
	FD     int    // O_PATH, of the link itself if it is one; the receiver closes it
	Name   string // beneath the root of /proc: "123/fd/4"
	Kind   ProcKind
	Target string              // what a ProcLink says
	Follow func() (int, error) // O_PATH of what a ProcMagic leads to; nil for others
}

// ProcView is /proc as one caller sees it.
type ProcView interface {
	// Step finds name in the directory dir, "" for the root. ENOENT for what
	// does not exist in the sandbox.
	Step(dir, name string) (ProcStep, error)
}
