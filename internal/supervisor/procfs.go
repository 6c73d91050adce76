package supervisor

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/capsicum-go/capsicum/internal/lookup"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/sys"
	"golang.org/x/sys/unix"
)

// procTree is what the callers' views of /proc have in common.
type procTree struct {
	s  *Supervisor
	ns *lookup.Namespace

	mu     sync.Mutex
	tables map[string]*sys.FD // files whose text is the plan's and not the kernel's
}

func (t *procTree) init(s *Supervisor, ns *lookup.Namespace) {
	t.s, t.ns = s, ns
	t.tables = make(map[string]*sys.FD)
}

// procView is /proc as one caller sees it: its own processes, a few files about
// the machine, and nothing else.
type procView struct {
	c *Call
	p *planNamei
}

func procName(pid int) string { return strconv.Itoa(pid) }

// Step implements lookup.ProcView.
func (v *procView) Step(dir, name string) (lookup.ProcStep, error) {
	if dir == "" {
		return v.stepRoot(name)
	}
	first, rest, _ := strings.Cut(dir, "/")
	if first == "sys" {
		return v.stepSys(dir, name)
	}
	pid, ok := number(first)
	if !ok || !v.p.proc.member(pid) {
		return lookup.ProcStep{}, unix.ENOENT
	}
	return v.stepProcess(dir, rest, name)
}

func number(s string) (int, bool) {
	if s == "" || len(s) > 10 || s[0] == '0' {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// open opens a name of the host's /proc without following a link in it.
func (v *procView) open(name string, kind lookup.ProcKind) (lookup.ProcStep, error) {
	fd, err := sys.Open(v.c.Proc().Int(), name, unix.O_PATH|unix.O_NOFOLLOW, 0, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_BENEATH)
	if err == unix.ESRCH || err == unix.ELOOP {
		err = unix.ENOENT
	}
	return lookup.ProcStep{FD: fd, Name: name, Kind: kind}, err
}

func (v *procView) stepRoot(name string) (lookup.ProcStep, error) {
	switch name {
	case "self", "thread-self":
		tgid, err := v.c.TGID()
		if err != nil {
			return lookup.ProcStep{}, err
		}
		st, err := v.open(name, lookup.ProcLink)
		st.Target = procName(tgid)
		if name == "thread-self" {
			st.Target += "/task/" + procName(v.c.TID())
		}
		return st, err
	case "mounts":
		st, err := v.open(name, lookup.ProcLink)
		st.Target = "self/mounts"
		return st, err
	}
	if pid, ok := number(name); ok {
		if !v.p.proc.member(pid) {
			return lookup.ProcStep{}, unix.ENOENT
		}
		return v.open(name, lookup.ProcDir)
	}
	kind, ok := kindOf(machineFiles, name)
	if !ok {
		return lookup.ProcStep{}, unix.ENOENT
	}
	return v.open(name, kind)
}

// stepSys shows the kernel's settings, read only. The network's are those of a
// network the sandbox may not have.
func (v *procView) stepSys(dir, name string) (lookup.ProcStep, error) {
	if dir == "sys" && !slices.Contains(sysDirs, name) {
		return lookup.ProcStep{}, unix.ENOENT
	}
	st, err := v.open(dir+"/"+name, lookup.ProcFile)
	if err != nil {
		return st, err
	}
	mode, err := modeOf(st.FD)
	if err == nil && isType(mode, unix.S_IFLNK) {
		err = unix.ENOENT
	}
	if err != nil {
		unix.Close(st.FD)
		return lookup.ProcStep{}, err
	}
	if isType(mode, unix.S_IFDIR) {
		st.Kind = lookup.ProcDir
	}
	return st, nil
}

// stepProcess finds name in the directory rest of a process, "" for its own.
func (v *procView) stepProcess(dir, rest, name string) (lookup.ProcStep, error) {
	full := dir + "/" + name
	if task, ok := strings.CutPrefix(rest, "task"); ok {
		if task == "" {
			if _, ok := number(name); !ok {
				return lookup.ProcStep{}, unix.ENOENT
			}
			return v.open(full, lookup.ProcDir)
		}
		_, rest, _ = strings.Cut(strings.TrimPrefix(task, "/"), "/")
	}
	switch rest {
	case "":
		return v.stepOwn(full, name)
	case "fd":
		return v.magic(full)
	case "ns":
		return v.magic(full)
	case "fdinfo", "attr":
		return v.open(full, lookup.ProcFile)
	}
	return lookup.ProcStep{}, unix.ENOENT
}

func (v *procView) stepOwn(full, name string) (lookup.ProcStep, error) {
	if text := planTable(name); text != nil {
		fd, err := v.p.proc.table(name, text)
		return lookup.ProcStep{FD: fd, Name: full, Kind: lookup.ProcFile}, err
	}
	kind, ok := kindOf(processFiles, name)
	switch {
	case !ok:
		return lookup.ProcStep{}, unix.ENOENT
	case kind == lookup.ProcMagic:
		return v.magic(full)
	}
	return v.open(full, kind)
}

func (v *procView) magic(full string) (lookup.ProcStep, error) {
	st, err := v.open(full, lookup.ProcMagic)
	st.Follow = func() (int, error) { return v.follow(full) }
	return st, err
}

// follow opens what a magic link leads to. The links of other processes are
// closed: what they hold was perhaps never granted to this one.
func (v *procView) follow(name string) (int, error) {
	if !v.own(name) {
		return -1, unix.EACCES
	}
	_, last, _ := cutLast(name)
	switch last {
	case "root":
		return v.openRoot()
	case "cwd":
		base, fd, err := v.p.workingDir(v.c)
		if err != nil {
			return -1, err
		}
		if base.Outside {
			fd.Close()
			return -1, unix.ENOENT
		}
		return fd.Release(), nil
	}
	if dir, _, _ := cutLast(name); strings.HasSuffix(dir, "/ns") {
		return -1, unix.EACCES
	}
	fd := -1
	err := sys.Retry(func() (err error) {
		fd, err = unix.Openat(v.c.Proc().Int(), name, unix.O_PATH|unix.O_CLOEXEC, 0)
		return err
	})
	if err == nil {
		if err = v.c.Check(); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return -1, err
	}
	return fd, nil
}

func cutLast(name string) (dir, last string, ok bool) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

// own reports whether a name in /proc is about the caller's own process.
func (v *procView) own(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	tgid, err := v.c.TGID()
	return err == nil && (first == procName(tgid) || first == procName(v.c.TID()))
}

func (v *procView) openRoot() (int, error) {
	obj, err := v.p.ns.Resolve(func() (lookup.Base, error) { return lookup.Base{}, unix.ENOENT }, "/", lookup.Options{})
	if err != nil {
		return -1, err
	}
	defer obj.Close()
	return obj.TakeFD()
}

// text is what a link of /proc says inside the sandbox. fd is the link itself.
func (v *procView) text(name string, fd int) (string, error) {
	switch name {
	case "", "sys":
		return "", unix.EINVAL
	case "self", "thread-self", "mounts":
		st, err := v.stepRoot(name)
		if err != nil {
			return "", err
		}
		unix.Close(st.FD)
		return st.Target, nil
	}
	mode, err := modeOf(fd)
	if err != nil {
		return "", err
	}
	if !isType(mode, unix.S_IFLNK) {
		return "", unix.EINVAL
	}
	dir, _, _ := cutLast(name)
	if strings.HasSuffix(dir, "/ns") {
		return v.raw(name)
	}
	if !v.own(name) {
		return "", unix.EACCES
	}
	to, err := v.follow(name)
	if err != nil {
		return "", err
	}
	defer unix.Close(to)
	place, err := v.p.ns.Locate(to)
	if err != nil {
		return "", err
	}
	if !place.Outside {
		if place.Path == "" {
			return "", unix.ENOENT
		}
		return place.Path, nil
	}
	return v.outside(name, to)
}

func (v *procView) raw(name string) (string, error) {
	var text string
	err := v.c.As(func() (err error) { text, err = sys.Readlink(v.c.Proc().Int(), name); return err })
	if err == nil {
		err = v.c.Check()
	}
	return text, err
}

// outside names an object that has no name in the sandbox. Pipes, sockets and
// terminals say what they are; the host's name of a file is nobody's business.
func (v *procView) outside(name string, fd int) (string, error) {
	text, err := v.raw(name)
	if err != nil {
		return "", err
	}
	mode, err := modeOf(fd)
	switch {
	case err != nil:
		return "", err
	case !strings.HasPrefix(text, "/"), strings.HasPrefix(text, "/memfd:"), isType(mode, unix.S_IFCHR):
		return text, nil
	}
	if inside, ok := v.p.ns.Translate(text); ok {
		return inside, nil // deleted, or renamed meanwhile
	}
	return "(unreachable)", nil
}

// access tells what a descriptor of the caller may be used for, by the magic
// link of /proc that led to object. Links that are no descriptors give nothing.
func (c *Call) access(link string, object int) (access, error) {
	dir, last, _ := cutLast(link)
	num, err := strconv.ParseInt(last, 10, 32)
	if err != nil || !strings.HasSuffix(dir, "/fd") {
		return access{}, nil
	}
	flags, err := c.fdFlags(int32(num), object)
	if err == unix.EBADF {
		err = unix.ENOENT
	}
	if err != nil {
		return access{}, err
	}
	return accessOf(flags), nil
}

// opensProc judges an open of a file of /proc. Those of a process are left to
// the kernel's own rules; the machine's are read only.
func (o Opening) opensProc(place *lookup.Place) error {
	if (o.writes() || o.Has(unix.O_TRUNC)) && !writable(place.Proc) {
		return unix.EACCES
	}
	if o.Has(unix.O_TMPFILE) {
		return unix.EOPNOTSUPP
	}
	return nil
}

// writable reports whether the kernel may decide who writes to a file of /proc.
func writable(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	_, ok := number(first)
	_, last, _ := cutLast(name)
	return ok && planTable(last) == nil
}

func accessProc(place *lookup.Place, mode uint32) error {
	if mode&unix.W_OK != 0 && !writable(place.Proc) {
		return unix.EACCES
	}
	return nil
}

// beforeOpen fills the directory that stands for /proc with the names a caller
// would find there now. It stays one directory, so what is listed changes under
// a reader as it does in procfs.
func (p *planNamei) beforeOpen(place *lookup.Place) error {
	if place.Entry == nil || place.Entry.Kind != plan.Proc || place.Proc != "" {
		return nil
	}
	return p.proc.refresh()
}

// terminalOf returns session and controlling terminal of a process.
func terminalOf(proc *sys.FD, pid string) ([2]string, error) {
	text, err := readProc(proc, pid+"/stat")
	if err != nil {
		return [2]string{}, err
	}
	f := sys.StatFields(text)
	if len(f) < 5 {
		return [2]string{}, unix.EIO
	}
	return [2]string{f[3], f[4]}, nil
}
