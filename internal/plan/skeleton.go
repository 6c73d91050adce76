package plan

import (
	"path"
	"strings"
)

// Part is one name that has to be made for a plan's own part of the namespace.
type Part struct {
	In     string // the Tmpfs entry that it is made in; "" for the sandbox's root
	Path   string // relative to that
	Kind   PartKind
	Target string // of a link
}

// PartKind says what a Part is.
type PartKind uint8

// The kinds of parts.
const (
	Scaffold  PartKind = iota // a directory of the plan's own
	PlaceDir                  // an empty directory for an entry to be seen on
	PlaceFile                 // an empty file for one
	Symlink
)

// Skeleton lists, for the sandbox's root and for each Tmpfs entry, what has to
// be made in it, parents first. What lies inside a Dir entry is the host's.
func (p *Plan) Skeleton() []Part {
	var parts []Part
	for _, d := range p.Dirs {
		if d != "/" {
			parts = append(parts, Part{Path: d[1:], Kind: Scaffold})
		}
	}
	for _, l := range p.Links {
		parts = append(parts, Part{Path: l.Path[1:], Kind: Symlink, Target: l.Target})
	}
	kinds := make(map[string]Kind, len(p.Entries))
	made := map[string]bool{}
	for i := range p.Entries {
		e := &p.Entries[i]
		outer, within := enclosing(kinds, e.Dest)
		kinds[e.Dest] = e.Kind
		if e.Dest == "/" || within && outer.kind != Tmpfs {
			continue
		}
		part := Part{Path: e.Dest[1:], Kind: PlaceDir}
		if within {
			part.In, part.Path = outer.dest, strings.TrimPrefix(e.Dest, outer.dest+"/")
			parts = between(parts, part, made)
		}
		if e.Kind == File || e.Kind == Device {
			part.Kind = PlaceFile
		}
		parts = append(parts, part)
	}
	return parts
}

type outer struct {
	dest string
	kind Kind
}

// enclosing returns the nearest entry that name lies inside of.
func enclosing(kinds map[string]Kind, name string) (outer, bool) {
	for name != "/" {
		name = path.Dir(name)
		if k, ok := kinds[name]; ok {
			return outer{name, k}, true
		}
	}
	return outer{}, false
}

// between adds the directories on the way to part inside a Tmpfs entry, which
// no list of the plan names.
func between(parts []Part, part Part, made map[string]bool) []Part {
	for i := range part.Path {
		if part.Path[i] != '/' {
			continue
		}
		dir := Part{In: part.In, Path: part.Path[:i], Kind: Scaffold}
		if full := dir.In + "/" + dir.Path; !made[full] {
			made[full] = true
			parts = append(parts, dir)
		}
	}
	return parts
}
