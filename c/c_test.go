package c

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/capsicum-go/capsicum/internal/exetest"
)

// built is where the library, the supervisor and the tests are built: a place that
// every user can read.
var built string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "capsicum-c-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built = dir
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// command runs a command and fails the test with its output.
func command(t *testing.T, env []string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// supervisor builds the program that supervises.
var supervisor = sync.OnceValues(func() (string, error) {
	path := filepath.Join(built, "capsicum")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/capsicum").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the supervisor: %w\n%s", err, out)
	}
	return path, nil
})

// library builds the library with a compiler, in a folder of its own.
func library(t *testing.T, name, cc, flags string) string {
	t.Helper()
	program, err := supervisor()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(built, name)
	command(t, nil, "make", "-s", "-j2", "O="+dir, "PREFIX="+built, "PROGRAM="+program, "CC="+cc, "CFLAGS="+flags)
	return dir
}

// sources are those of the test program.
func sources(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, name := range []string{"main", "sets", "limits", "modes", "processes", "crippled", "shm", "procdesc", "pdwait", "poll", "streams", "refuse"} {
		out = append(out, filepath.Join("tests", name+".c"))
	}
	return out
}

// variants are the ways to build a program with the library.
var variants = []struct {
	name, cc, flags string
	program         string // further flags of the program
	shared          bool
}{
	{"shared", "gcc", "-O2 -g", "-std=c11", true},
	{"static", "gcc", "-O2 -g", "-std=c99 -static", false},
	{"clang", "clang", "-O2", "-std=c99", false},
	// The kernel's headers are where the other library's are.
	{"musl", "musl-gcc", "-O2 -idirafter /usr/include -idirafter /usr/include/" + multiarch(), "-std=c11 -static", false},
	{"sanitized", "gcc", sanitized, "-std=c11", false},
}

const sanitized = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"

func multiarch() string {
	out, err := exec.Command("gcc", "-print-multiarch").Output()
	if err != nil {
		return "none"
	}
	return strings.TrimSpace(string(out))
}

// buildTests builds the test program in one variant.
func buildTests(t *testing.T, i int) string {
	t.Helper()
	v := variants[i]
	if _, err := exec.LookPath(v.cc); err != nil {
		t.Fatalf("%v; script/deps installs it", err)
	}
	name := v.name
	if name == "static" { // with the archive that is built beside the shared library
		name = "shared"
	}
	lib := library(t, name, v.cc, v.flags)
	args := append(strings.Fields(v.flags+" "+v.program), "-Wall", "-Wextra", "-Werror", "-Iinclude", "-Icompat/include", "-pthread")
	args = append(args, sources(t)...)
	path := filepath.Join(built, "test-"+v.name)
	args = append(args, "-o", path)
	if v.shared {
		args = append(args, "-L"+lib, "-Wl,-rpath,"+lib, "-lcapsicum")
	} else {
		args = append(args, filepath.Join(lib, "libcapsicum.a"))
	}
	command(t, nil, v.cc, args...)
	return path
}

// TestCases runs every case of the test program, built in every way, with a supervisor
// and without, as whoever runs the test and as an ordinary user.
func TestCases(t *testing.T) {
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() == 0 {
		users["user"] = &syscall.Credential{Uid: 1500, Gid: 1500}
	}
	for i, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			path := buildTests(t, i)
			cases := strings.Split(strings.TrimSpace(string(command(t, nil, path))), "\n")
			if len(cases) < 20 {
				t.Fatalf("the program lists %d cases", len(cases))
			}
			for _, name := range cases {
				// The one is executed by another; the other's many processes are for each
				// C library once.
				if name == "executed half" || name == "crippled" && v.name != "shared" && v.name != "musl" {
					continue
				}
				for who, cred := range users {
					t.Run(name+"/"+who+"/supervised", func(t *testing.T) { runCase(t, path, name, cred, false) })
					t.Run(name+"/"+who+"/alone", func(t *testing.T) { runCase(t, path, name, cred, true) })
				}
			}
		})
	}
}

func runCase(t *testing.T, path, name string, cred *syscall.Credential, alone bool, under ...string) {
	t.Parallel()
	argv := append(under, path, name)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	// Looking for leaks takes what a confined process has not.
	cmd.Env = append(os.Environ(), "ASAN_OPTIONS=detect_leaks=0")
	if alone {
		cmd.Env = append(cmd.Env, "TEST_ALONE=1", "CAPSICUM_SUPERVISOR=/nonexistent")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Setpgid: true}
	timer := time.AfterFunc(5*time.Minute, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLock tries the library's lock with processes that share or copy it.
func TestLock(t *testing.T) {
	lib := library(t, "shared", "gcc", "-O2 -g")
	path := filepath.Join(t.TempDir(), "lock")
	command(t, nil, "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Iinclude", "-pthread", "tests/lock.c",
		filepath.Join(lib, "libcapsicum.a"), "-o", path)
	command(t, nil, path)
}

// TestSecureExecution has a set-user-id program not execute what the environment says.
func TestSecureExecution(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("makes a program of another user's")
	}
	plain := buildTests(t, 1)
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	mark, other := filepath.Join(dir, "mark"), filepath.Join(dir, "other")
	if err := exetest.WriteFile(other, []byte("#!/bin/sh\ntouch "+mark+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"CAPSICUM_SUPERVISOR=" + other, "TEST_ALONE=1"}
	command(t, env, plain, "enter")
	if _, err := os.Stat(mark); err != nil {
		t.Fatalf("not even a plain program executes it: %v", err)
	}
	raised := filepath.Join(dir, "raised")
	command(t, nil, "cp", plain, raised)
	if err := errors.Join(os.Remove(mark), os.Chown(raised, 1500, 1500), os.Chmod(raised, 0o755|os.ModeSetuid)); err != nil {
		t.Fatal(err)
	}
	command(t, env, raised, "enter")
	if _, err := os.Stat(mark); err == nil {
		t.Error("a set-user-id program executes what the environment names")
	}
}

// TestLanguages compiles the headers, and a program, in every language.
func TestLanguages(t *testing.T) {
	lib := library(t, "shared", "gcc", "-O2 -g")
	for _, l := range []struct{ cc, std string }{
		{"gcc", "c99"}, {"gcc", "gnu99"}, {"gcc", "c11"}, {"gcc", "gnu17"}, {"g++", "c++98"}, {"g++", "c++11"}, {"g++", "c++20"},
		{"clang", "c99"}, {"clang", "c11"}, {"clang++", "c++17"},
	} {
		t.Run(l.cc+" "+l.std, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "headers")
			args := []string{"-std=" + l.std, "-Wall", "-Wextra", "-Werror", "-Iinclude"}
			if strings.HasSuffix(l.cc, "++") {
				args = append(args, "-x", "c++")
			} else {
				args = append(args, "-D_GNU_SOURCE")
			}
			args = append(args, "tests/headers.c", "-x", "none", "-L"+lib, "-Wl,-rpath,"+lib, "-lcapsicum", "-o", path)
			command(t, nil, l.cc, args...)
			command(t, nil, path)
			for _, header := range []string{"sys/capsicum.h", "capsicum_helpers.h"} {
				command(t, nil, l.cc, "-std="+l.std, "-D_DEFAULT_SOURCE", "-U_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Iinclude",
					"-DHEADER=<"+header+">", "-x", language(l.cc), "tests/includes.c")
			}
		})
	}
}

func language(cc string) string {
	if strings.HasSuffix(cc, "++") {
		return "c++"
	}
	return "c"
}

// libcs are the functions that take the place of the C library's.
var libcs = map[string]bool{
	"fstat": true, "fstat64": true, "waitpid": true, "wait4": true, "getppid": true,
	"poll": true, "ppoll": true, "__poll_chk": true, "__ppoll_chk": true, "select": true, "pselect": true,
	"kill": true, "raise": true, "close": true, "dup": true, "dup2": true, "dup3": true,
}

// TestBareNames links every public name without a header, as configure scripts do,
// with either name of the library, before the source and after it.
func TestBareNames(t *testing.T) {
	lib := library(t, "shared", "gcc", "-O2 -g")
	out := command(t, nil, "nm", "-D", "--defined-only", "--format=posix", filepath.Join(lib, "libcapsicum.so.1"))
	var names []string
	for line := range strings.Lines(string(out)) {
		names = append(names, strings.Fields(line)[0])
	}
	header := string(command(t, nil, "cat", "include/sys/capsicum.h", "include/capsicum_helpers.h",
		"include/sys/procdesc.h", "compat/include/sys/mman.h"))
	var calls, declarations strings.Builder
	for _, name := range names {
		if libcs[name] {
			continue
		}
		if !strings.Contains(header, name+"(") {
			t.Errorf("%s is exported, and in no header", name)
		}
		fmt.Fprintf(&declarations, "char %s();\n", name)
		fmt.Fprintf(&calls, "if (n == 99) %s();\n", name)
	}
	source := filepath.Join(t.TempDir(), "bare.c")
	text := declarations.String() + "int main(int n, char **v)\n{\n(void)v;\n" + calls.String() + "return 0;\n}\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bare")
	for _, flags := range [][]string{
		{source, "-lcapsicum"}, {source, "-lcaprights"}, {"-Wl,--as-needed", "-lcapsicum", source}, {"-Wl,--no-as-needed", "-lcapsicum", source},
		{"-Wl,--as-needed", source, "-lcapsicum"}, {"-lcaprights", "-lcapsicum", source, "-lcapsicum"}, {source, "-static", "-lcapsicum"},
	} {
		args := append([]string{"-w", "-fno-builtin", "-L" + lib, "-Wl,-rpath," + lib, "-o", path}, flags...)
		command(t, nil, "gcc", args...)
		command(t, nil, path)
	}
}

// TestInstall installs to a folder, and builds a program with what pkg-config says.
func TestInstall(t *testing.T) {
	lib, dest := t.TempDir(), t.TempDir()
	command(t, nil, "make", "-s", "O="+lib, "PREFIX=/opt/c", "DESTDIR="+dest, "CC=gcc", "install")
	for _, name := range []string{"include/sys/capsicum.h", "include/linux/capsicum.h", "lib/libcapsicum.so.1", "lib/libcapsicum.so",
		"lib/libcaprights.so", "lib/libcapsicum.a", "lib/pkgconfig/capsicum.pc"} {
		if _, err := os.Stat(filepath.Join(dest, "opt/c", name)); err != nil {
			t.Error(err)
		}
	}
	pc := string(command(t, nil, "cat", filepath.Join(dest, "opt/c/lib/pkgconfig/capsicum.pc")))
	for _, want := range []string{"prefix=/opt/c\n", "Libs: -L${libdir} -lcapsicum\n", "Cflags: -I${includedir}\n"} {
		if !strings.Contains(pc, want) {
			t.Errorf("capsicum.pc lacks %q:\n%s", want, pc)
		}
	}
	so := filepath.Join(dest, "opt/c/lib/libcapsicum.so.1")
	if out := command(t, nil, "cat", so); !bytes.Contains(out, []byte("/opt/c/bin/capsicum\x00")) {
		t.Error("the library does not look for the supervisor where it is installed")
	}
	if out := command(t, nil, "readelf", "-d", so); !bytes.Contains(out, []byte("soname: [libcapsicum.so.1]")) {
		t.Errorf("no soname:\n%s", out)
	}
}

// TestLibraryFolder installs the library elsewhere, where pkg-config and the linker look
// for it; what is built for one place is not installed in another.
func TestLibraryFolder(t *testing.T) {
	lib, dest := t.TempDir(), t.TempDir()
	command(t, nil, "make", "-s", "O="+lib, "PREFIX="+dest, "CC=gcc", "all")
	command(t, nil, "make", "-s", "O="+lib, "PREFIX="+dest, "LIBDIR="+dest+"/lib64/some", "CC=gcc", "install")
	if _, err := os.Stat(filepath.Join(dest, "lib")); err == nil {
		t.Error("something is in PREFIX/lib")
	}
	where := filepath.Join(dest, "lib64/some")
	env := []string{"PKG_CONFIG_PATH=" + filepath.Join(where, "pkgconfig")}
	if out := strings.TrimSpace(string(command(t, env, "pkg-config", "--variable=libdir", "capsicum"))); out != where {
		t.Errorf("pkg-config says %s", out)
	}
	flags := strings.Fields(string(command(t, env, "pkg-config", "--cflags", "--libs", "capsicum")))
	path := filepath.Join(dest, "headers")
	command(t, nil, "gcc", append([]string{"-D_GNU_SOURCE", "tests/headers.c", "-o", path, "-Wl,-rpath," + where}, flags...)...)
	command(t, nil, path)
}

// TestGenerated fails when what c/gen writes is not what it would write now.
func TestGenerated(t *testing.T) {
	files := []string{"include/sys/_rights.h", "src/protocol.h", "src/tables.c", "man/rights.7"}
	out := t.TempDir()
	for _, dir := range []string{"include/sys", "src", "man"} {
		if err := os.MkdirAll(filepath.Join(out, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command(t, nil, "go", "run", "./gen", out)
	for _, name := range files {
		now, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(now, want) {
			t.Errorf("c/%s is not up to date; make generate", name)
		}
	}
}
