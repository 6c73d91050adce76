// Package lookup finds names in a namespace that exists only in a plan.
//
// Without mount namespaces the sandbox's root is a tree nobody mounted: a few
// directories and links of its own (the skeleton) with host objects (the
// entries) hung into it. A [Namespace] walks that tree as the kernel would walk
// the mounted one, on descriptors it holds, so that a name never leaves what
// the plan grants whatever is renamed or linked meanwhile.
//
//	ns, err := lookup.New(p, skeleton)
//	obj, err := ns.Resolve(base, "/usr/share/doc", lookup.Options{Follow: true})
//	defer obj.Close()
//
// # Limitations
//
// A nested entry hangs on a name, not on a directory: when the directories that
// lead to it are renamed, it stays where the plan put it.
package lookup

import (
	"container/list"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"github.com/capsicum-go/capsicum/rights"
)

// ErrNoDevpts says that pseudo terminals of the sandbox's own need a mount.
var ErrNoDevpts = errors.New("private pseudo terminals need the namespaces engine")

// beneath keeps a walk below its starting directory and out of procfs' links.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS

// ScaffoldRights is what the program may do with the plan's own directories.
var ScaffoldRights = rights.Of(rights.Lookup, rights.Read, rights.Fstat, rights.Fstatfs, rights.Seek, rights.Fchdir, rights.Fpathconf)

// Entry is a plan entry in use.
type Entry struct {
	plan.Entry
	ReadOnly bool // no right to change anything: changes are EROFS

	node     *node
	source   string  // host name; of a Tmpfs entry the private directory's
	id       plan.ID // of the object that stands for it
	procOK   bool    // source lies in a harmless part of the host's procfs
	identity bool    // sandbox and host name are the same

	// Below is guarded by Namespace.mu.
	fd   int // -1 while closed
	refs int
	slot *list.Element
}

// Namespace is a plan being looked up.
type Namespace struct {
	skeleton int
	root     *node
	entries  []*Entry
	bySource map[string][]*Entry
	scaffold map[plan.ID]*node // directories of the skeleton that the program can hold
	proc     *Entry

	limit int // of entries with a descriptor

	mu     sync.Mutex
	recent *list.List // of *Entry with a descriptor, the one unused for longest first
}

// node is a name the plan mentions.
type node struct {
	path   string
	parent *node
	kids   map[string]*node
	entry  *Entry // what hangs at this very name
	within *Entry // nearest entry at or above; nil in the scaffold
	link   bool
}

func (nd *node) kid(name string) *node {
	if nd == nil {
		return nil
	}
	return nd.kids[name]
}

// New opens the entries of p; a source that is no longer the object that was
// judged is [sys.ErrChanged]. skeleton is a directory filled by
// [BuildSkeleton]; it stays the caller's and must outlive the namespace.
func New(p *plan.Plan, skeleton int) (*Namespace, error) {
	n := &Namespace{
		skeleton: skeleton,
		root:     &node{path: "/"},
		bySource: make(map[string][]*Entry, len(p.Entries)),
		scaffold: make(map[plan.ID]*node, len(p.Dirs)),
		limit:    descriptorBudget(),
		recent:   list.New(),
	}
	host, err := sys.Readlink(unix.AT_FDCWD, sys.FDName(skeleton))
	if err != nil {
		return nil, fmt.Errorf("name skeleton: %w", err)
	}
	for i := range p.Entries {
		if err := n.add(&p.Entries[i], host); err != nil {
			return nil, err
		}
	}
	for _, d := range p.Dirs {
		n.insert(d)
	}
	for _, l := range p.Links {
		n.insert(l.Path).link = true
	}
	n.root.settle(nil)
	if err := n.identify(p); err != nil {
		return nil, err
	}
	return n, n.openAll()
}

// descriptorBudget leaves half of the process's descriptors to the calls being
// served.
func descriptorBudget() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil || lim.Cur > 1<<20 {
		return 1 << 19
	}
	return max(int(lim.Cur/2), 1)
}

func (n *Namespace) insert(name string) *node {
	nd := n.root
	for _, c := range components(name) {
		k := nd.kids[c]
		if k == nil {
			k = &node{path: path.Join(nd.path, c), parent: nd}
			if nd.kids == nil {
				nd.kids = make(map[string]*node)
			}
			nd.kids[c] = k
		}
		nd = k
	}
	return nd
}

func components(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

// settle hands every name its enclosing entry.
func (nd *node) settle(outer *Entry) {
	if nd.entry != nil {
		outer = nd.entry
	}
	nd.within = outer
	for _, k := range nd.kids {
		k.settle(outer)
	}
}

func (n *Namespace) add(pe *plan.Entry, host string) error {
	e := &Entry{Entry: *pe, fd: -1, id: pe.ID, source: pe.Source,
		ReadOnly: plan.ReadOnly(pe.Rights)}
	switch pe.Kind {
	case plan.Devpts:
		return fmt.Errorf("show %s: %w", pe.Dest, ErrNoDevpts)
	case plan.Proc:
		n.proc = e
	case plan.Tmpfs:
		e.source = path.Join(host, pe.Dest)
	}
	e.procOK = harmlessProc(e.source, pe.Kind)
	e.identity = e.source == e.Dest
	e.node = n.insert(pe.Dest)
	e.node.entry = e
	n.entries = append(n.entries, e)
	if e.source != "" {
		n.bySource[e.source] = append(n.bySource[e.source], e)
	}
	return nil
}

// harmlessProc reports whether a granted piece of the host's procfs is free of
// processes: under a process directory the supervisor would act with its own
// eyes, and "self" would be the supervisor.
func harmlessProc(source string, kind plan.Kind) bool {
	rest, ok := strings.CutPrefix(source, "/proc/")
	if !ok {
		return false
	}
	first, _, _ := strings.Cut(rest, "/")
	if first[0] >= '0' && first[0] <= '9' || first == "self" || first == "thread-self" {
		return false
	}
	return kind == plan.File || first == "sys"
}

// identify learns the skeleton's directories by device and inode, so that a
// descriptor of one is recognized.
func (n *Namespace) identify(p *plan.Plan) error {
	for _, list := range n.bySource {
		slices.SortFunc(list, func(a, b *Entry) int {
			// Ambiguous descriptors are judged by the wider of two grants: the
			// program holds both by name anyhow.
			if d := len(b.Rights.Rights()) - len(a.Rights.Rights()); d != 0 {
				return d
			}
			return strings.Compare(a.Dest, b.Dest)
		})
	}
	learn := func(name string) (plan.ID, error) {
		nd := n.find(name)
		fd, err := n.openSkeleton(name)
		if err != nil {
			return plan.ID{}, fmt.Errorf("open skeleton %s: %w", name, err)
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return plan.ID{}, fmt.Errorf("stat skeleton %s: %w", name, err)
		}
		id := plan.ID{Dev: uint64(st.Dev), Ino: st.Ino}
		n.scaffold[id] = nd
		return id, nil
	}
	for _, d := range p.Dirs {
		if n.find(d).within != nil {
			continue
		}
		if _, err := learn(d); err != nil {
			return err
		}
	}
	for _, e := range n.entries {
		if e.Kind != plan.Tmpfs && e.Kind != plan.Proc {
			continue
		}
		id, err := learn(e.Dest)
		if err != nil {
			return err
		}
		e.id = id
	}
	return nil
}

func (n *Namespace) openSkeleton(name string) (int, error) {
	return sys.Open(n.skeleton, relative(strings.TrimPrefix(name, "/")), unix.O_PATH|unix.O_NOFOLLOW, 0, beneath|unix.RESOLVE_NO_SYMLINKS)
}

func relative(rel string) string {
	if rel == "" {
		return "."
	}
	return rel
}

// find returns the node of a name that the plan mentions.
func (n *Namespace) find(name string) *node {
	nd := n.root
	for _, c := range components(name) {
		nd = nd.kid(c)
	}
	return nd
}

// Proc returns the entry that shows the sandbox's processes, or nil.
func (n *Namespace) Proc() *Entry { return n.proc }

// Entries returns the entries in the order of their names.
func (n *Namespace) Entries() []*Entry { return n.entries }

// Close gives the held descriptors back.
func (n *Namespace) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.entries {
		if e.fd >= 0 {
			unix.Close(e.fd)
			e.fd = -1
		}
	}
	return nil
}
