package shm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum"
	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/rights"
)

const childEnv = "CAPSICUM_TEST_SHM"

func TestMain(m *testing.M) {
	if order := os.Getenv(childEnv); order != "" {
		if err := child(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// circumstances are how a child is confined.
type circumstances struct{ static, mode bool }

// cases are what children do once they are confined: each makes ready what it is
// about, calls confine, and returns what is wrong then.
var cases = map[string]func(c circumstances, confine func()) error{
	"reader": reader, "passed": passed, "received": received, "owner": owner, "new": made, "sealed": sealed, "inherited": inherited,
	"names": names,
}

func child(order string) error {
	name, rest, _ := strings.Cut(order, " ")
	c := circumstances{strings.Contains(rest, "static"), strings.Contains(rest, "mode")}
	confine := func() {
		if c.mode {
			must(capsicum.Enter())
		}
	}
	if c.static && os.Getenv("CAPSICUM_TEST_SHM_FD") == "" {
		withoutSupervisor()
	}
	return cases[name](c, confine)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// withoutSupervisor makes the first limit while no descriptor is to be had.
func withoutSupervisor() {
	zero, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // in capability mode already
	}
	var was unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	next, err := unix.Dup(zero)
	must(err)
	must(unix.Close(next))
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: was.Max}))
	must(capsicum.LimitFD(zero, rights.Read, rights.Event))
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &was))
}

// another returns another descriptor of o's object.
func another(o *Object) *Object {
	n, err := unix.FcntlInt(o.f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(err)
	return FromFile(os.NewFile(uintptr(n), "another"))
}

// check says what is wrong when err is not want.
func check(what string, err, want error) error {
	if want == nil && err == nil || want != nil && errors.Is(err, want) {
		return nil
	}
	return fmt.Errorf("%s: %v, want %v", what, err, want)
}

var page = os.Getpagesize()

func mapped(o *Object, p Prot) error {
	mem, err := o.Map(0, page, p)
	if err == nil {
		err = Unmap(mem)
	}
	return err
}

// powerless tries what a reader with {READ, MMAP_R} may not do.
func powerless(r *Object, c circumstances) error {
	fd := int(r.f.Fd())
	raw := func(f func() error) error { return f() }
	errs := []error{
		check("read", raw(func() error { _, err := unix.Read(fd, make([]byte, 1)); return err }), nil),
		check("map", mapped(r, Read), nil),
		check("map to write", mapped(r, Write), capsicum.ErrNotCapable),
		check("map to read and write", mapped(r, Read|Write), capsicum.ErrNotCapable),
		check("map to execute", mapped(r, Exec), capsicum.ErrNotCapable),
		check("grow", r.Truncate(int64(2*page)), capsicum.ErrNotCapable),
		check("cut", r.Truncate(0), capsicum.ErrNotCapable),
		check("allocate", unix.Fallocate(fd, 0, 0, int64(2*page)), capsicum.ErrNotCapable),
		check("write", raw(func() error { _, err := unix.Write(fd, []byte{1}); return err }), capsicum.ErrNotCapable),
		check("pwrite", raw(func() error { _, err := unix.Pwrite(fd, []byte{1}, int64(page)); return err }), capsicum.ErrNotCapable),
		check("seal", r.Seal(SealWrite), capsicum.ErrNotCapable),
		check("chmod", unix.Fchmod(fd, 0o777), capsicum.ErrNotCapable),
		check("widen", capsicum.Limit(r, rights.Read, rights.MmapRW), capsicum.ErrNotCapable),
	}
	mem, err := r.Map(0, page, Read)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if err := unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE); err == nil {
		errs = append(errs, errors.New("mprotect makes the reader's mapping writable"))
	}
	errs = append(errs, Unmap(mem))
	if c.mode {
		for _, flags := range []int{unix.O_RDONLY, unix.O_RDWR} {
			n, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), flags, 0)
			if err == nil {
				unix.Close(n)
			}
			errs = append(errs, check("open again by name", err, capsicum.ErrCapabilityMode))
		}
	}
	return errors.Join(errs...)
}

func reader(c circumstances, confine func()) error {
	o, err := CreateSealable(int64(page))
	must(err)
	mem, err := o.Map(0, page, Read|Write)
	must(err)
	r := another(o)
	must(capsicum.Limit(r, rights.Read, rights.MmapR))
	confine()
	seen, err := r.Map(0, page, Read)
	if err != nil {
		return err
	}
	mem[7] = 42
	size, err := o.Size()
	return errors.Join(
		check("map to read", err, nil),
		truth("what is written is not seen", seen[7] == 42), powerless(r, c),
		check("the owner seals", o.Seal(SealGrow|SealSeal), nil),
		truth("the owner's size changed", size == int64(page)), Unmap(seen), Unmap(mem))
}

func truth(text string, ok bool) error {
	if ok {
		return nil
	}
	return errors.New(text)
}

// passed sends a limited descriptor to a process that was forked before, which has
// this one's supervisor. Without one nothing limited is sent.
func passed(c circumstances, confine func()) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	o, err := CreateSealable(int64(page))
	must(err)
	mem, err := o.Map(0, page, Read|Write)
	must(err)
	mem[7] = 42
	r := another(o)
	must(capsicum.Limit(r, rights.Read, rights.MmapR))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"=received"+c.words())
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(pair[1]), "socket")}
	cmd.Stderr = os.Stderr
	must(cmd.Start())
	go func() { time.Sleep(20 * time.Second); os.Exit(9) }()
	confine()
	err = unix.Sendmsg(pair[0], []byte{1}, unix.UnixRights(int(r.f.Fd())), nil, 0)
	if c.static {
		err = errors.Join(truth("a limited descriptor is sent without a supervisor", err != nil), unix.Close(pair[0]))
		return errors.Join(err, truth("the receiver had something to receive", cmd.Wait() != nil))
	}
	return errors.Join(check("send", err, nil), cmd.Wait())
}

func (c circumstances) words() string {
	s := ""
	if c.static {
		s += " static"
	}
	if c.mode {
		s += " mode"
	}
	return s
}

func received(c circumstances, confine func()) error {
	confine()
	control := make([]byte, 64)
	_, n, _, _, err := unix.Recvmsg(3, make([]byte, 1), control, 0)
	if err != nil {
		return err
	}
	if n == 0 {
		os.Exit(3)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	must(err)
	fds, err := unix.ParseUnixRights(&messages[0])
	must(err)
	r := FromFile(os.NewFile(uintptr(fds[0]), "received"))
	has, err := capsicum.Rights(r)
	must(err)
	mem, err := r.Map(0, page, Read)
	if err != nil {
		return err
	}
	return errors.Join(truth("it arrives with "+has.String(), has.Equal(rights.Of(rights.Read, rights.MmapR))),
		truth("what was written is not seen", mem[7] == 42), powerless(r, c))
}

// given is the number of what a program is executed with: one that the runtime leaves alone.
const given = 100

// inherited hands a limited descriptor to a program that is executed, which goes into
// capability mode itself: nothing is executed there by its name.
func inherited(c circumstances, confine func()) error {
	if os.Getenv("CAPSICUM_TEST_SHM_FD") != "" {
		confine()
		return powerless(FromFile(os.NewFile(given, "inherited")), c)
	}
	o, err := CreateSealable(int64(page))
	must(err)
	must(unix.Dup3(int(o.f.Fd()), given, 0))
	must(capsicum.LimitFD(given, rights.Read, rights.MmapR))
	must(os.Setenv("CAPSICUM_TEST_SHM_FD", "yes"))
	return syscall.Exec("/proc/self/exe", []string{"inherited"}, os.Environ())
}

// owner has everything, in capability mode too.
func owner(c circumstances, confine func()) error {
	o, err := CreateSealable(0)
	must(err)
	confine()
	return all(o)
}

// made is what is created after confinement.
func made(c circumstances, confine func()) error {
	confine()
	o, err := CreateSealable(0)
	if err != nil {
		return err
	}
	return all(o)
}

func all(o *Object) error {
	size, err := o.Size()
	if err != nil || size != 0 {
		return fmt.Errorf("size %d, %v, want 0", size, err)
	}
	if err := o.Truncate(int64(2 * page)); err != nil {
		return err
	}
	a, err := o.Map(0, 2*page, Read|Write)
	if err != nil {
		return err
	}
	b, err := o.Map(int64(page), page, Read)
	if err != nil {
		return err
	}
	copy(a[page:], "shared")
	return errors.Join(truth("two mappings differ", string(b[:6]) == "shared"), Unmap(a), Unmap(b), mapped(o, Read|Exec),
		check("seal", o.Seal(SealGrow), nil), check("grow", o.Truncate(int64(3*page)), syscall.EPERM), o.Close())
}

// sealed is for a reader whom no rights hold: outside capability mode a file is opened
// again by its name in /proc. What the owner has sealed stays so.
func sealed(c circumstances, confine func()) error {
	o, err := CreateSealable(int64(page))
	must(err)
	mem, err := o.Map(0, page, Read|Write)
	must(err)
	must(o.Seal(SealFutureWrite | SealGrow | SealShrink | SealSeal))
	r := another(o)
	must(capsicum.Limit(r, rights.Read, rights.MmapR))
	confine()
	mem[0] = 1
	if c.mode {
		return powerless(r, c)
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", r.f.Fd()), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	again := FromFile(f)
	_, err = f.WriteAt([]byte{1}, 0)
	return errors.Join(check("write", err, syscall.EPERM), check("map", mapped(again, Write), syscall.EPERM),
		check("grow", again.Truncate(int64(2*page)), syscall.EPERM), check("cut", again.Truncate(0), syscall.EPERM),
		truth("the owner writes no more", mem[0] == 1))
}

// TestConfined runs each case in both forms, in capability mode and out of it, as
// whoever runs the test and as an ordinary user.
func TestConfined(t *testing.T) {
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() == 0 {
		users["user"] = &syscall.Credential{Uid: 1500, Gid: 1500}
	}
	self := exetest.Self(t)
	for name := range cases {
		if name == "received" {
			continue // another case's child
		}
		for _, c := range []circumstances{{}, {mode: true}, {static: true}, {static: true, mode: true}} {
			for who, cred := range users {
				t.Run(name+c.words()+"/"+who, func(t *testing.T) {
					t.Parallel()
					cmd := exec.Command(self)
					cmd.Env = append(os.Environ(), childEnv+"="+name+c.words())
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%v\n%s", err, out)
					}
				})
			}
		}
	}
}

// TestNew: what shm_open(2) says of a new object.
func TestNew(t *testing.T) {
	o, err := Create(0)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	st, err := o.File().Stat()
	if err != nil || st.Size() != 0 || st.Mode() != mode {
		t.Errorf("size %d, mode %v, %v, want 0, %v", st.Size(), st.Mode(), err, os.FileMode(mode))
	}
	if flags, err := unix.FcntlInt(o.File().Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x, %v: stays open when something is executed", flags, err)
	}
	if s, err := o.Seals(); err != nil || s != SealSeal {
		t.Errorf("seals %#x, %v, want %#x", s, err, SealSeal)
	}
	if err := o.Seal(SealWrite); !errors.Is(err, syscall.EPERM) {
		t.Errorf("seal: %v, want %v", err, syscall.EPERM)
	}
	names, err := os.ReadDir("/dev/shm")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		if strings.Contains(e.Name(), name) {
			t.Errorf("/dev/shm/%s", e.Name())
		}
	}
}

// TestNotExecuted: an object is no program.
func TestNotExecuted(t *testing.T) {
	o, err := Create(0)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.File().WriteAt(program, 0); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), o.File().Fd())
	if err := exec.Command(path).Run(); !errors.Is(err, syscall.EACCES) {
		t.Errorf("execute: %v, want %v", err, syscall.EACCES)
	}
	probe, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL {
		return // before Linux 6.3 nothing keeps it from being one after chmod
	}
	if err := errors.Join(err, unix.Close(probe)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fchmod(int(o.File().Fd()), 0o700); err == nil {
		if err := exec.Command(path).Run(); err == nil {
			t.Error("it is executed after chmod")
		}
	}
}

func TestFreed(t *testing.T) {
	free := func() uint64 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			t.Fatal(err)
		}
		return info.Sharedram * uint64(info.Unit)
	}
	const size = 64 << 20
	before := free()
	o, err := Create(size)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := o.Map(0, size, Read|Write)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < size; i += page {
		mem[i] = 1
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if held := free(); held < before+size/2 {
		t.Errorf("%d bytes held, %d before: a mapping keeps no object", held, before)
	}
	if err := Unmap(mem); err != nil {
		t.Fatal(err)
	}
	if held := free(); held > before+size/2 {
		t.Errorf("%d bytes held, %d before: it is not freed", held, before)
	}
}

func TestChild(t *testing.T) {
	o, err := Create(int64(page))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	mem, err := o.Map(0, page, Read|Write)
	if err != nil {
		t.Fatal(err)
	}
	copy(mem, "from the parent\n")
	cmd := exec.Command("/bin/sh", "-c", "head -n 1 <&3; printf child >&3")
	cmd.ExtraFiles = []*os.File{o.File()}
	out, err := cmd.Output()
	if err != nil || string(out) != "from the parent\n" {
		t.Errorf("child reads %q, %v", out, err)
	}
	if !bytes.Contains(mem, []byte("child")) {
		t.Errorf("child's writing is not seen: %q", mem[:32])
	}
}

func TestMapArguments(t *testing.T) {
	o, err := Create(int64(page))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, c := range []struct {
		offset int64
		length int
		prot   Prot
	}{{-1, page, Read}, {0, 0, Read}, {0, -1, Read}, {1, page, Read}, {1<<63 - 1, page, Read}, {0, page, 8}} {
		if mem, err := o.Map(c.offset, c.length, c.prot); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %d bytes, %v, want %v", c, len(mem), err, syscall.EINVAL)
		}
	}
	mem, err := o.Map(0, page, 0) // PROT_NONE
	if err != nil {
		t.Fatal(err)
	}
	if err := Unmap(mem); err != nil {
		t.Error(err)
	}
	if err := Unmap(mem); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("second unmap: %v, want %v", err, syscall.EINVAL)
	}
}
