package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
)

// makeTree builds a tree from lines: "dir/", "file=text", "link -> target",
// "fifo|". Everything belongs to owner.
func makeTree(t testing.TB, dir string, owner *syscall.Credential, lines ...string) string {
	t.Helper()
	own := func(p string) {
		if owner != nil {
			if err := os.Lchown(p, int(owner.Uid), int(owner.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	own(dir)
	for _, l := range lines {
		name, target, isLink := strings.Cut(l, " -> ")
		name, text, _ := strings.Cut(name, "=")
		p := dir + "/" + strings.TrimRight(name, "/|")
		if i := strings.LastIndexByte(p, '/'); i > len(dir) {
			for j := len(dir) + 1; j <= i; j++ {
				if p[j] == '/' && os.Mkdir(p[:j], 0o755) == nil {
					own(p[:j])
				}
			}
		}
		var err error
		switch {
		case isLink:
			err = os.Symlink(target, p)
		case strings.HasSuffix(name, "/"):
			err = os.Mkdir(p, 0o755)
		case strings.HasSuffix(name, "|"):
			err = syscall.Mkfifo(p, 0o644)
		default:
			err = os.WriteFile(p, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		own(p)
	}
	return dir
}

var tree = []string{
	"rw/f=one", "rw/d/", "rw/d/g=two", "rw/l -> f", "rw/out -> ../secret", "rw/abs -> /etc/passwd", "rw/empty/", "rw/s -> d", "rw/p|",
	"rw/exe=x", "rw/trunc=long text", "rw/x1=1", "rw/x2=2", "rw/x3=3", "rw/gone=1",
	"ro/f=three", "ro/d/", "ro/d/g=four", "ro/l -> f",
	"secret=hidden", "hidden/f=hidden",
}

// standard is a world with one writable and one read-only tree under their own
// names.
func standard(t testing.TB, cred *syscall.Credential) (*world, string) {
	d := makeTree(t, openDir(t), cred, tree...)
	w := &world{t: t, cred: cred}
	w.grant(d+"/rw", d+"/rw", policy.RW)
	w.grant(d+"/ro", d+"/ro", policy.RO)
	return w, d
}

// opCase is one operation: what it does in the writable grant, in the read-only
// one, and on a name outside every grant. The same operations unconfined must do
// what they do in the writable grant, in every tree: so that each refusal is the
// sandbox's.
type opCase struct {
	op               string // T is the tree's directory
	rw, ro, outsider string
}

var opCases = []opCase{
	{"read T/f", "text:X", "text:X", "ENOENT"},
	{"size T/f", "N", "N", "ENOENT"},
	{"stat T/f", "ok", "ok", "ENOENT"},
	{"stat T/none", "ENOENT", "ENOENT", "ENOENT"},
	{"lstat T/l", "ok", "ok", "ENOENT"},
	{"fstatat -100 T/f 0", "ok", "ok", "ENOENT"},
	{"access T/f 4", "ok", "ok", "ENOENT"},
	{"access T/f 2", "ok", "EROFS", "ENOENT"},
	{"access T/d 2", "ok", "EROFS", "ENOENT"},
	{"access T/d 1", "ok", "ok", "ENOENT"},
	{"faccessat2 T/f 2 0x200", "ok", "EROFS", "ENOENT"},
	{"faccessat2 T/l 4 0x100", "ok", "ok", "ENOENT"},
	{"readlink T/l", "->f", "->f", "ENOENT"},
	{"readlink T/f", "EINVAL", "EINVAL", "ENOENT"},
	{"statfs T/f", "ok", "ok", "ENOENT"},
	{"listxattr T/f", "0", "0", "ENOENT"},
	{"getxattr T/f user.none", "ENODATA", "ENODATA", "ENOENT"},
	{"inotify T/d", "no event", "no event", "ENOENT"},
	{"open r|dir T/d", "ok", "ok", "ENOENT"},
	{"open r|dir T/f", "ENOTDIR", "ENOTDIR", "ENOENT"},
	{"open r|nofollow T/l", "ELOOP", "ELOOP", "ENOENT"},
	{"open path T/f", "ok", "ok", "ENOENT"},
	{"open w T/f", "ok", "EROFS", "ENOENT"},
	{"open rw T/f", "ok", "EROFS", "ENOENT"},
	{"open w|append T/f", "ok", "EROFS", "ENOENT"},
	{"open w T/d", "EISDIR", "EISDIR", "ENOENT"},
	{"open rw|creat T/f", "ok", "EROFS", "ENOENT"},
	{"open r|creat T/f", "ok", "ok", "ENOENT"},
	{"open rw|creat|excl T/f", "EEXIST", "EEXIST", "ENOENT"},
	{"open rw|creat T/new", "ok", "EROFS", "ENOENT"},
	{"open rw|creat|excl T/new", "EEXIST", "EROFS", "ENOENT"},
	{"open rw|creat T/new2/", "EISDIR", "EISDIR", "ENOENT"},
	{"open rw|tmp T/d", "ok", "EROFS", "ENOENT"},
	{"mkdir T/nd", "ok", "EROFS", "ENOENT"},
	{"mkdir T/d", "EEXIST", "EEXIST", "ENOENT"},
	{"rmdir T/nd", "ok", "EROFS", "ENOENT"},
	{"rmdir T/d", "ENOTEMPTY", "EROFS", "ENOENT"},
	{"unlink T/new", "ok", "EROFS", "ENOENT"},
	{"unlink T/none", "ENOENT", "EROFS", "ENOENT"},
	{"symlink any T/sl", "ok", "EROFS", "ENOENT"},
	{"mkfifo T/ff", "ok", "EROFS", "ENOENT"},
	{"mksock T/so", "ok", "EROFS", "ENOENT"},
	{"link T/f T/hl", "ok", "EROFS", "ENOENT"},
	{"rename T/hl T/hl2", "ok", "EROFS", "ENOENT"},
	{"noreplace T/hl2 T/f", "EEXIST", "EROFS", "ENOENT"},
	{"exchange T/hl2 T/f", "ok", "EROFS", "ENOENT"},
	{"chmod T/f 0640", "ok", "EROFS", "ENOENT"},
	{"fchmodat2 T/l 0600 0x100", "ENOTSUP", "EROFS", "ENOENT"},
	{"chown T/f -1 -1", "ok", "EROFS", "ENOENT"},
	{"lchown T/l -1 -1", "ok", "EROFS", "ENOENT"},
	{"utimens T/f 100 200 0", "ok", "EROFS", "ENOENT"},
	{"times T/f", "100.7 200", "*", "ENOENT"},
	{"utimens T/l 3 4 0x100", "ok", "EROFS", "ENOENT"},
	{"times T/l", "*", "*", "ENOENT"},
	{"utimes T/f", "ok", "EROFS", "ENOENT"},
	{"touch T/f", "ok", "EROFS", "ENOENT"},
	{"truncate T/f 2", "ok", "EROFS", "ENOENT"},
	{"truncate T/d 2", "EISDIR", "EISDIR", "ENOENT"},
	{"truncate T/f -1", "EINVAL", "EINVAL", "ENOENT"},
	{"setxattr T/f user.a v", "ok", "EROFS", "ENOENT"},
	{"getxattr T/f user.a", "text:v", "ENODATA", "ENOENT"},
	{"removexattr T/f user.a", "ok", "EROFS", "ENOENT"},
	{"list T/d", "g", "g", "ENOENT"},
	{"open r|trunc T/d/g", "ok", "EROFS", "ENOENT"},
}

// hasUserAttributes reports whether files in dir have attributes called user. A tmpfs has
// them from Linux 6.6 on.
func hasUserAttributes(t *testing.T, dir string) bool {
	f, err := os.CreateTemp(dir, "")
	must(t, err)
	defer os.Remove(f.Name())
	defer f.Close()
	err = unix.Fsetxattr(int(f.Fd()), "user.a", nil, 0)
	if err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}
	return err == nil
}

func TestOperations(t *testing.T) {
	eachUser(t, func(t *testing.T, cred *syscall.Credential) {
		d := openDir(t)
		for _, name := range []string{"rw", "ro", "hidden", "plain"} {
			if err := os.Mkdir(d+"/"+name, 0o755); err != nil {
				t.Fatal(err)
			}
			makeTree(t, d+"/"+name, cred, "f=text", "l -> f", "d/", "d/g=more")
		}
		w := &world{t: t, cred: cred}
		w.grant(d+"/rw", d+"/rw", policy.RW)
		w.grant(d+"/ro", d+"/ro", policy.RO)
		v := w.run()
		u := launch(t, "serve", exetest.Self(t), "/", cred)
		attributes := hasUserAttributes(t, d)
		for _, c := range opCases {
			if strings.Contains(c.op, "user.") && !attributes {
				c.rw = "ENOTSUP"
				if c.ro == "ENODATA" {
					c.ro = "ENOTSUP"
				}
			}
			at := func(tree string) string { return strings.ReplaceAll(c.op, "T/", d+"/"+tree+"/") }
			want := u.do(at("plain"))
			if got := v.do(at("rw")); got != want && c.rw != "*" {
				t.Errorf("%s: granted %s, unconfined %s", c.op, got, want)
			}
			switch c.rw {
			case "X", "N", "*", "text:X":
			default:
				if want != c.rw {
					t.Errorf("%s: unconfined %s, want %s", c.op, want, c.rw)
				}
			}
			if got := v.do(at("ro")); got != c.ro && c.ro != "*" && c.ro != "text:X" && c.ro != "N" {
				t.Errorf("%s: read only %s, want %s", c.op, got, c.ro)
			}
			if got := v.do(at("hidden")); got != c.outsider {
				t.Errorf("%s: outside %s, want %s", c.op, got, c.outsider)
			}
			if got := v.do(at("missing")); got != c.outsider {
				t.Errorf("%s: nowhere %s, want %s", c.op, got, c.outsider)
			}
		}
	})
}

func TestScaffoldAndLinks(t *testing.T) {
	w, d := standard(t, nil)
	w.grant(d+"/hidden", "/else/where", policy.RW)
	w.grant("/dev/null", "/dev/null", policy.RW)
	w.entries = append(w.entries, plan.Entry{Dest: "/tmp", Kind: plan.Tmpfs, Rights: policy.RW})
	if strings.HasPrefix(d, "/tmp/") {
		w.entries = w.entries[:len(w.entries)-1] // the trees live there
	}
	w.links = []plan.Link{{Path: "/alias", Target: "else/where"}}
	v := w.run()
	v.want("list /else", "where")
	v.want("mkdir /else/x", "EROFS")
	v.want("mkdir /else", "EEXIST")
	v.want("mkdir /", "EEXIST")
	v.want("rmdir /else", "EROFS")
	v.want("rmdir /else/where", "EROFS")
	v.want("unlink /alias", "EROFS")
	v.want("rename /alias /beta", "EROFS")
	v.want("readlink /alias", "->else/where")
	v.want("read /alias/f", "text:hidden")
	v.want("read /else/where/f", "text:hidden")
	v.want("open w|creat /else/new", "EROFS")
	v.want("open r|creat /else/where/new", "ok")
	v.want("chmod /else 0777", "EROFS")
	v.want("write w /dev/null x", "ok")
	v.want("write w|trunc /dev/null x", "ok")
	v.want("write rw|creat /dev/null x", "ok")
	v.want("stat /dev/zero", "ENOENT")
	v.want("list /dev", "null")
	v.want("list /etc", "ENOENT")
	if got := v.do("list /"); strings.Contains(got, "etc") || !strings.Contains(got, "alias") {
		t.Errorf("list /: %s", got)
	}
	v.want("rename "+d+"/rw/f "+d+"/ro/f", "EXDEV")
	v.want("rename "+d+"/rw/f /else/where/f", "EXDEV")
	v.want("link "+d+"/ro/f "+d+"/rw/stolen", "EXDEV")
	v.want("exchange "+d+"/ro/f "+d+"/rw/f", "EXDEV")
	v.want("mkdev "+d+"/rw/null", "EPERM")
}

// TestWorkingDirectory goes through directories the kernel knows by the same
// name and ones it does not.
func TestWorkingDirectory(t *testing.T) {
	eachUser(t, func(t *testing.T, cred *syscall.Credential) {
		w, d := standard(t, cred)
		w.grant(d+"/hidden", "/else/where", policy.RO)
		v := w.run()
		v.want("getcwd", "/")
		v.want("read else/where/f", "text:hidden")
		v.want("chdir "+d+"/rw", "ok")
		v.want("getcwd", d+"/rw")
		v.want("read f", "text:one")
		v.want("chdir d", "ok")
		v.want("getcwd", d+"/rw/d")
		v.want("read ../f", "text:one")
		v.want("read ../../ro/f", "text:three")
		v.want("read ../../secret", "ENOENT")
		v.want("chdir ../..", "ok")
		v.want("getcwd", d)
		v.want("read ro/f", "text:three")
		v.want("stat secret", "ENOENT")
		v.want("mkdir new", "EROFS")
		v.want("chdir /else", "ok")
		v.want("chdir where", "ok")
		v.want("getcwd", "/else/where")
		v.want("read f", "text:hidden")
		v.want("readlink /proc/self/cwd", "->/else/where")
		v.want("read /proc/self/cwd/f", "text:hidden")
		v.want("fork", `"/else/where" "ok" "/else"`)
		v.want("chdir ..", "ok")
		v.want("getcwd", "/else")
		v.want("chdir "+d+"/rw/s", "ok")
		v.want("getcwd", d+"/rw/d")
		v.want("fork", `"`+d+`/rw/d" "ok" "`+d+`/rw"`)
		fd := v.do("keep r|dir /else")
		v.want("fchdir "+fd, "ok")
		v.want("getcwd", "/else")
		v.want("readat "+fd+" where/f", "text:hidden")
		v.want("chdir /etc", "ENOENT")
		v.want("chdir "+d+"/rw/f", "ENOTDIR")
		v.want("chdir "+d+"/rw/out", "ENOENT")
		v.want("getcwd", "/else")
		v.want("rlimit", "ok ok ok, read true true")
		v.want("getcwd", "/else")
	})
}

func TestExecute(t *testing.T) {
	w, d := standard(t, nil)
	real, err := filepath.EvalSymlinks("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	w.grant(real, "/moved/true", policy.ROX)
	v := w.run()
	v.want("exec "+d+"/rw/exe", "EACCES")
	v.want("exec "+d+"/rw/d", "EACCES")
	v.want("exec /bin/id", "ENOENT")
	v.want("exec /no/such", "ENOENT")
	v.want("exec /moved/true", "ENOENT") // the kernel walks the host's names
	if got := v.do("fork"); strings.HasPrefix(got, "E") {
		t.Errorf("granted program: %s", got)
	}
}

func TestCreatedModes(t *testing.T) {
	eachUser(t, func(t *testing.T, cred *syscall.Credential) {
		w, d := standard(t, cred)
		v := w.run()
		u := launch(t, "serve", exetest.Self(t), "/", cred)
		for _, mask := range []string{"0", "027", "077"} {
			v.do("umask " + mask)
			u.do("umask " + mask)
			for _, op := range []string{"open w|creat ", "mkdir ", "mkfifo ", "mksock "} {
				name := d + "/rw/m" + mask
				want := u.do(op+name) + u.do("mode "+name)
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
				if got := v.do(op+name) + v.do("mode "+name); got != want {
					t.Errorf("%s with umask %s: %s, unconfined %s", op, mask, got, want)
				}
				if cred != nil {
					var st syscall.Stat_t
					if err := syscall.Lstat(name, &st); err != nil || st.Uid != cred.Uid {
						t.Errorf("%s: owner %d (%v), want %d", op, st.Uid, err, cred.Uid)
					}
				}
				os.Remove(name)
			}
		}
	})
}

// TestNoPrivilegeIsLent: the supervisor is root, the program is not.
func TestNoPrivilegeIsLent(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the supervisor has no privilege to lend
	}
	cred := &syscall.Credential{Uid: 1500, Gid: 1500}
	w, d := standard(t, cred)
	if err := os.WriteFile(d+"/rw/root", []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d+"/rw/closed", 0o700); err != nil {
		t.Fatal(err)
	}
	makeTree(t, d+"/rw/closed", &syscall.Credential{}, "in=side")
	if err := os.Chmod(d+"/rw/closed", 0o700); err != nil {
		t.Fatal(err)
	}
	v := w.run()
	v.want("open r "+d+"/rw/root", "EACCES")
	v.want("open w|trunc "+d+"/rw/root", "EACCES")
	v.want("access "+d+"/rw/root 4", "EACCES")
	v.want("truncate "+d+"/rw/root 0", "EACCES")
	v.want("chmod "+d+"/rw/root 0666", "EPERM")
	v.want("chown "+d+"/rw/root 1500 1500", "EPERM")
	v.want("touch "+d+"/rw/root", "EACCES")
	v.want("stat "+d+"/rw/closed/in", "EACCES")
	v.want("chdir "+d+"/rw/closed", "EACCES")
	v.want("list "+d+"/rw/closed", "EACCES")
	v.want("link "+d+"/rw/root "+d+"/rw/mine", map[bool]string{true: "EPERM", false: "ok"}[v.s.setting("protected_hardlinks") != 0])
}
