package elfdeps

import (
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// loaded is an object that the loader has, or will have, in memory.
type loaded struct {
	*object
	path   string
	origin string  // what $ORIGIN stands for
	parent *loaded // whose need brought it in; nil for the program
}

// loader follows needed libraries breadth first, as loaders do, so that the
// first name to be found is the one that counts.
type loader struct {
	c      *closure
	main   *loaded
	search func(l *loader, name string, by *loaded) []*loaded
	names  map[string]bool // sonames and needed names already satisfied
	probes map[string]*loaded
	cache  *cache   // ld.so.cache; nil without one
	musl   []string // musl's own search path
	budget int      // directories that may still be looked into
}

// maxSearch bounds the directories that one program makes us look into. Search
// paths are inherited along chains of needs, so without a bound a hostile
// program could make a few kilobytes mean hours.
const maxSearch = 1 << 18

// elf adds the loader and the libraries of an executable.
func (c *closure) elf(name string, f *Opened) error {
	img, headers, err := open(f.R, c.m)
	if err != nil {
		return &Error{name, err}
	}
	o, err := img.object(headers)
	if err != nil {
		return &Error{name, err}
	}
	if img.hasLibrary(headers) {
		c.library(name)
	}
	if o.interp == "" {
		return nil
	}
	main := &loaded{object: o, path: name, origin: path.Dir(f.Real)}
	l := &loader{c: c, main: main, search: (*loader).glibc, names: make(map[string]bool), probes: make(map[string]*loaded), budget: maxSearch}
	interp := c.absolute(o.interp)
	ld := l.probe(interp)
	if ld == nil {
		c.warn("%s, the loader of %s, does not exist or is not for this machine", interp, name)
		return nil
	}
	c.addOpened(interp, Executable, "loader of "+name)
	l.names[ld.soname], l.names[path.Base(interp)] = true, true
	if arch, ok := strings.CutPrefix(path.Base(interp), "ld-musl-"); ok {
		l.search = (*loader).muslSearch
		l.readMuslPath(interp, strings.TrimSuffix(arch, ".so.1"))
	} else {
		l.readCache()
	}
	l.follow()
	return nil
}

// addOpened adds a file that was found already, with its mode of now.
func (c *closure) addOpened(name string, use Use, why string) {
	var mode uint32
	if f, err := c.find(name); err == nil {
		mode = f.Mode
		f.Close()
	}
	c.add(name, use, why, mode)
}

// follow walks the needs of the program and of everything they bring in.
func (l *loader) follow() {
	first := *l.main.object
	first.needed = append(l.preloads(), first.needed...)
	queue := []*loaded{{object: &first, path: l.main.path, origin: l.main.origin}}
	l.main = queue[0]
	for len(queue) > 0 {
		by := queue[0]
		queue = queue[1:]
		for _, name := range by.needed {
			if l.names[name] {
				continue
			}
			l.names[name] = true
			found := l.search(l, name, by)
			if len(found) == 0 {
				l.c.warn("%s, needed by %s, was not found", name, by.path)
			}
			for _, lib := range found {
				l.c.add(lib.path, Library, "needed library of "+l.main.path, 0)
				l.names[lib.soname] = true
				if lib.isLibrary() {
					l.c.library(lib.path)
				}
			}
			queue = append(queue, found...)
			if len(l.c.result.Files) > maxFiles || l.budget <= 0 {
				l.c.warn("%s needs more files or directories than any real program; the rest is left out", l.main.path)
				return
			}
		}
	}
}

// preloads are the libraries that the environment asks for. Names that are not
// there are the user's to notice: the loader ignores them with a message.
func (l *loader) preloads() []string {
	return strings.FieldsFunc(l.c.env.Preload, func(r rune) bool { return r == ':' || r == ' ' })
}

// probe returns the library at a name, or nil if a loader would look further.
func (l *loader) probe(name string) *loaded {
	if lib, known := l.probes[name]; known {
		return lib
	}
	l.probes[name] = nil
	f, err := l.c.find(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	if f.R == nil {
		return nil
	}
	o, err := parse(f.R, l.c.m)
	if err != nil {
		return nil
	}
	lib := &loaded{object: o, path: name, origin: path.Dir(name)}
	l.probes[name] = lib
	return lib
}

// isDir reports, once for each name, whether a directory is there.
func (l *loader) isDir(name string) bool {
	lib, known := l.probes[name]
	if !known {
		if f, err := l.c.find(name); err == nil {
			if f.Mode&unix.S_IFMT == unix.S_IFDIR {
				lib = l.main
			}
			f.Close()
		}
		l.probes[name] = lib
	}
	return lib != nil
}

// brought returns found, with its place in the chain of needs.
func brought(by *loaded, found ...*loaded) []*loaded {
	var libs []*loaded
	for _, f := range found {
		if f != nil {
			lib := *f
			lib.parent = by
			libs = append(libs, &lib)
		}
	}
	return libs
}

// direct handles a needed name that has a slash: it is a path, not searched.
func (l *loader) direct(name string, by *loaded) []*loaded {
	for _, p := range l.expand(name, by) {
		if lib := l.probe(l.c.absolute(p)); lib != nil {
			return brought(by, lib)
		}
	}
	return nil
}

// glibc looks for a library as ld.so(8) does.
func (l *loader) glibc(name string, by *loaded) []*loaded {
	if strings.Contains(name, "/") {
		return l.direct(name, by)
	}
	var dirs []string
	if !by.hasRun {
		for a := by; a != nil; a = a.parent {
			if !a.hasRun {
				dirs = append(dirs, l.split(a.rpath, ":", a)...)
			}
		}
	}
	dirs = append(dirs, l.split(l.c.env.LibraryPath, ":;", l.main)...)
	dirs = append(dirs, l.split(by.runpath, ":", by)...)
	if libs := l.inDirs(dirs, name, by); libs != nil {
		return libs
	}
	// Every cached variant is granted: which one the processor gets is the
	// loader's affair.
	var found []*loaded
	for _, p := range l.cache.paths(name) {
		if !by.noDefLib || !slices.Contains(l.c.m.dirs, path.Dir(p)) {
			found = append(found, l.probe(p))
		}
	}
	if libs := brought(by, found...); libs != nil || by.noDefLib {
		return libs
	}
	return l.inDirs(append(slices.Clone(l.c.m.dirs), path.Dir(l.c.absolute(l.main.interp))), name, by)
}

// inDirs returns the library in the first directory that has it, and its
// variants for better processors.
func (l *loader) inDirs(dirs []string, name string, by *loaded) []*loaded {
	for _, dir := range dirs {
		var found []*loaded
		if hwcaps := dir + "/glibc-hwcaps"; len(l.c.m.hwcaps) > 0 && l.isDir(hwcaps) {
			for _, level := range l.c.m.hwcaps {
				found = append(found, l.probe(hwcaps+"/"+level+"/"+name))
			}
		}
		found = append(found, l.probe(l.c.absolute(dir+"/"+name)))
		if libs := brought(by, found...); libs != nil {
			return libs
		}
	}
	return nil
}

// muslReserved begin the names of libraries that musl's loader itself is.
var muslReserved = []string{"libc.", "libpthread.", "librt.", "libm.", "libdl.", "libutil.", "libxnet."}

// muslSearch looks for a library as musl's loader does: the environment first,
// then the paths of all ancestors, no cache.
func (l *loader) muslSearch(name string, by *loaded) []*loaded {
	if strings.Contains(name, "/") {
		return l.direct(name, by)
	}
	for _, prefix := range muslReserved {
		if strings.HasPrefix(name, prefix) {
			return brought(by, l.probe(l.c.absolute(l.main.interp)))
		}
	}
	dirs := l.split(l.c.env.LibraryPath, ":\n", l.main)
	for a := by; a != nil; a = a.parent {
		run := a.runpath
		if !a.hasRun {
			run = a.rpath
		}
		dirs = append(dirs, l.split(run, ":\n", a)...)
	}
	for _, dir := range append(dirs, l.musl...) {
		if lib := l.probe(l.c.absolute(dir + "/" + name)); lib != nil {
			return brought(by, lib)
		}
	}
	return nil
}

// split divides a search path and makes its directories absolute. An empty
// element is the working directory, an empty path has no elements.
func (l *loader) split(list, separators string, by *loaded) []string {
	if list == "" {
		return nil
	}
	var dirs []string
	for (len(list) > 0 || len(dirs) == 0) && l.budget > 0 {
		l.budget--
		dir := list
		if i := strings.IndexAny(list, separators); i >= 0 {
			dir, list = list[:i], list[i+1:]
		} else {
			list = ""
		}
		for _, p := range l.expand(dir, by) {
			dirs = append(dirs, l.c.absolute(p))
		}
	}
	return dirs
}

// expand replaces the tokens of ld.so(8). $LIB and $PLATFORM were fixed when the
// loader was built, so each of their likely values gives a name of its own.
func (l *loader) expand(s string, by *loaded) []string {
	list := []string{s}
	for _, token := range []struct {
		name   string
		values []string
	}{{"ORIGIN", []string{by.origin}}, {"LIB", l.c.m.lib}, {"PLATFORM", l.c.m.platform}} {
		if !strings.Contains(s, token.name) {
			continue
		}
		var next []string
		for _, value := range token.values {
			r := strings.NewReplacer("${"+token.name+"}", value, "$"+token.name, value)
			for _, old := range list {
				if name := r.Replace(old); !slices.Contains(next, name) {
					next = append(next, name)
				}
			}
		}
		list = next
	}
	return list
}
