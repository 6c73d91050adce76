// Package plan is the sandbox's namespace written down: every name that will
// exist, the host object behind it, and the rights on it. It is produced once
// by internal/resolve and consumed by both engines, by --dry-run and by the
// supervisor; none of them looks at the policy again.
package plan

import "github.com/capsicum-go/capsicum/rights"

// Kind says what an entry is made of.
type Kind string

const (
	Dir    Kind = "dir"    // a host directory and all beneath it
	File   Kind = "file"   // one host object that is not a directory or a device
	Device Kind = "device" // one host character or block device
	Tmpfs  Kind = "tmpfs"  // a private empty directory
	Proc   Kind = "proc"   // process information of the sandbox only
	Devpts Kind = "devpts" // pseudo terminals of the sandbox only
)

// ID names a host object independent of any path. It is compared when an
// engine opens Source again, so that the object that was judged is the object
// that is granted.
type ID struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// Entry is one grant after resolution: a mount under the namespaces engine, a
// branch of the namespace map under the landlock engine.
type Entry struct {
	Dest   string     `json:"dest"`             // absolute clean name in the sandbox, free of symlinks
	Source string     `json:"source,omitempty"` // absolute host name, free of symlinks; empty for Tmpfs, Proc, Devpts
	Kind   Kind       `json:"kind"`
	Rights rights.Set `json:"rights"` // includes the rights of every enclosing entry of the same tree
	ID     ID         `json:"id"`
	Mode   uint32     `json:"mode"`   // st_mode of Source
	Origin []string   `json:"origin"` // the flags that asked for it: "--ro /usr", "program", "--system", "dev"
}

// Link is a symbolic link that exists in the sandbox so that a name spelled
// through a host symlink keeps working.
type Link struct {
	Path   string `json:"path"`
	Target string `json:"target"`
	Origin string `json:"origin"`
}

// Plan is the whole namespace.
//
// Invariants, checked by Validate: Entries are sorted by Dest, so an enclosing
// entry comes before what it encloses; no two share a Dest; an entry that shows
// a part of the tree that encloses it has strictly more rights than that (else
// it was dropped) or is a device; one that shows another tree has the rights it
// was given and no others, so that "--rw /a --ro /etc:/a/etc" does not make
// /etc writable; only a Dir or a Tmpfs has entries inside; Links are sorted by
// Path and never lie inside an entry; the ancestors of every Dest and link that
// no entry covers are listed in Dirs, "/" included, sorted.
type Plan struct {
	Entries []Entry  `json:"entries"`
	Links   []Link   `json:"links,omitempty"`
	Dirs    []string `json:"dirs"`
	Program Program  `json:"program"`
	Cwd     string   `json:"cwd"` // name in the sandbox
}

// Program is what will be executed.
type Program struct {
	Path string   `json:"path"` // name in the sandbox, as execve gets it
	Argv []string `json:"argv"`

	// Library is what says that the program may confine itself: a file with Capsicum's
	// library in it, or a flag. Empty: nothing does.
	Library string `json:"library,omitempty"`
}
