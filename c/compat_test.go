package c

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// beside are headers of the system that a program may include with the shims; what
// each of those gives must not depend on who comes first.
var beside = []string{"net/bpf.h", "sys/filio.h", "sys/ttycom.h", "sys/ioccom.h", "sys/param.h", "sys/capability.h", "sys/capsicum.h",
	"capsicum_helpers.h", "linux/capsicum.h", "sys/ioctl.h", "sys/socket.h", "net/if.h", "termios.h", "pcap.h", "linux/capability.h",
	"linux/if_packet.h", "linux/sockios.h"}

// orders returns orders in which each name comes first once, and each before each
// other.
func orders(names []string) [][]string {
	var all [][]string
	for range names {
		names = append(slices.Clone(names[1:]), names[0])
		back := slices.Clone(names)
		slices.Reverse(back)
		all = append(all, names, back)
	}
	return all
}

// TestShimsInEveryOrder compiles the shims beside the system's headers, first and last
// and between, in every language.
func TestShimsInEveryOrder(t *testing.T) {
	for _, l := range []struct {
		cc, std     string
		flags       string
		headers     []string
		noLibraries bool // no headers but the C library's own
	}{
		{cc: "gcc", std: "c99"}, {cc: "gcc", std: "gnu17"}, {cc: "clang", std: "c99"}, {cc: "clang", std: "gnu11"},
		{cc: "g++", std: "c++11"}, {cc: "g++", std: "c++20"}, {cc: "clang++", std: "c++17"},
		{cc: "musl-gcc", std: "c99", noLibraries: true},
	} {
		t.Run(l.cc+" "+l.std, func(t *testing.T) {
			t.Parallel()
			headers, args := beside, []string{"-std=" + l.std, "-D_DEFAULT_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Iinclude", "-Icompat/include"}
			if l.noLibraries {
				headers = slices.DeleteFunc(slices.Clone(headers), func(h string) bool {
					return h == "pcap.h" || strings.HasPrefix(h, "linux/") && h != "linux/capsicum.h"
				})
				args = append(args, "-DNO_LIBRARIES")
			}
			dir := t.TempDir()
			source, err := os.ReadFile("compat/tests/order.c")
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(l.cc, "++") {
				args = append(args, "-x", "c++")
			}
			for i, order := range orders(headers) {
				var includes strings.Builder
				for _, h := range order {
					fmt.Fprintf(&includes, "#include <%s>\n", h)
				}
				path := filepath.Join(dir, fmt.Sprintf("order%d.c", i))
				text := strings.Replace(string(source), "#include \"order.h\"\n", includes.String(), 1)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, path)
			}
			command(t, nil, l.cc, args...)
		})
	}
}

// TestPedantic compiles every header alone, and what uses them all, with all that
// compilers find fault with. The headers are where users' own are: in those of the system
// less is found.
func TestPedantic(t *testing.T) {
	var headers []string
	for _, dir := range []string{"include", "compat/include"} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				headers = append(headers, strings.TrimPrefix(path, dir+"/"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, cc := range []string{"gcc", "clang", "g++", "clang++"} {
		standards := []string{"c99", "c11", "c17"}
		if language(cc) == "c++" {
			standards = []string{"c++98", "c++11", "c++17"}
		}
		for _, std := range standards {
			t.Run(cc+" "+std, func(t *testing.T) {
				t.Parallel()
				args := []string{"-std=" + std, "-D_DEFAULT_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
					"-Iinclude", "-Icompat/include", "-x", language(cc), "compat/tests/pedantic.c"}
				dir := t.TempDir()
				for i, header := range headers {
					path := filepath.Join(dir, fmt.Sprintf("header%d.c", i))
					if err := os.WriteFile(path, []byte("#include <"+header+">\nextern int nothing;\n"), 0o600); err != nil {
						t.Fatal(err)
					}
					args = append(args, path)
				}
				command(t, nil, cc, args...)
			})
		}
	}
}

// TestTerminalCommands compiles a list of FreeBSD's commands of terminals with each header
// that has them there.
func TestTerminalCommands(t *testing.T) {
	list := "cap_ioctl_t commands[] = {TIOCGETA, TIOCSETA, TIOCSETAW, TIOCSETAF, TIOCGWINSZ, TIOCSWINSZ, TIOCGETD, TIOCSETD, TIOCGPGRP," +
		" TIOCSPGRP, TIOCGSID, TIOCSCTTY, TIOCNOTTY, TIOCOUTQ, TIOCSTI, TIOCEXCL, TIOCNXCL, TIOCGPTN, TIOCPTMASTER, TIOCFLUSH, TIOCDRAIN," +
		" TIOCSTART, TIOCSTOP, TIOCSTAT, TIOCSIG, TIOCCONS, TIOCEXT, TIOCPKT, TIOCMGET, TIOCMSET, TIOCMBIS, TIOCMBIC, TIOCSBRK, TIOCCBRK," +
		" TIOCSDTR, TIOCCDTR, TIOCUCNTL, TIOCTIMESTAMP, TIOCGDRAINWAIT, TIOCSDRAINWAIT, TIOCMGDTRWAIT, TIOCMSDTRWAIT"
	for _, header := range []string{"sys/ttycom.h", "sys/ioctl.h", "termios.h", "capsicum_helpers.h"} {
		more := "};\n"
		if header == "sys/ioctl.h" || header == "capsicum_helpers.h" {
			more = ", FIODTYPE, FIODGNAME, FIONREAD, FIONBIO, FIOASYNC, FIOSETOWN, FIOGETOWN};\n"
		}
		path := filepath.Join(t.TempDir(), "list.c")
		if err := os.WriteFile(path, []byte("#include <sys/capsicum.h>\n#include <"+header+">\n"+list+more), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, flags := range [][]string{
			{"gcc", "-std=c99"}, {"gcc", "-std=gnu11"}, {"clang", "-std=c99"}, {"clang", "-std=gnu11"}, {"musl-gcc", "-std=c99"},
			{"g++", "-std=c++17", "-x", "c++"}, {"clang++", "-std=c++17", "-x", "c++"},
		} {
			command(t, nil, flags[0], append(flags[1:], "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Iinclude", "-Icompat/include", path)...)
		}
	}
}

// TestShimCommandsAreHarmless tries each command that Linux does not have on every kind
// of descriptor.
func TestShimCommandsAreHarmless(t *testing.T) {
	lib, dir := library(t, "shared", "gcc", "-O2 -g"), t.TempDir()
	var list strings.Builder
	values := map[string]string{}
	for _, header := range []string{"net/bpf.h", "sys/filio.h", "sys/ttycom.h"} {
		text, err := os.ReadFile(filepath.Join("compat/include", header))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^#define (\w+)\s+_CAPSICUM_NOWHERE\((\w+)\)$`).FindAllStringSubmatch(string(text), -1) {
			if other := values[m[2]]; other != "" {
				t.Errorf("%s and %s are the same", m[1], other)
			}
			values[m[2]] = m[1]
			fmt.Fprintf(&list, "COMMAND(%s)\n", m[1])
		}
	}
	if len(values) < 55 {
		t.Fatalf("only %d commands found", len(values))
	}
	if err := os.WriteFile(filepath.Join(dir, "commands.h"), []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "harmless")
	command(t, nil, "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Iinclude", "-Icompat/include", "-I"+dir,
		"compat/tests/harmless.c", "-L"+lib, "-Wl,-rpath,"+lib, "-lcapsicum", "-o", path)
	command(t, nil, path)
}

// TestShimsAreInstalled compiles with what pkg-config says, against what is installed.
func TestShimsAreInstalled(t *testing.T) {
	lib, dest := t.TempDir(), t.TempDir()
	prefix := filepath.Join(dest, "usr")
	command(t, nil, "make", "-s", "O="+lib, "PREFIX="+prefix, "CC=gcc", "install")
	env := []string{"PKG_CONFIG_PATH=" + filepath.Join(prefix, "lib/pkgconfig")}
	flags := strings.Fields(string(command(t, env, "pkg-config", "--cflags", "--libs", "capsicum-compat")))
	source, path := filepath.Join(dest, "a.c"), filepath.Join(dest, "a")
	text := "#include <sys/param.h>\n#include <sys/capsicum.h>\n#include <sys/ioccom.h>\n#include <sys/filio.h>\n#include <net/bpf.h>\n#include <termios.h>\n" +
		"int main(void) { cap_ioctl_t c[] = {BIOCGSTATS, FIODTYPE, TIOCGETA}; return nitems(c) == 3 && !cap_sandboxed() ? 0 : 1; }\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, nil, "gcc", append([]string{"-Wall", "-Wextra", "-Werror", source, "-o", path, "-Wl,-rpath," + filepath.Join(prefix, "lib")}, flags...)...)
	command(t, nil, path)
	plain := string(command(t, env, "pkg-config", "--cflags", "capsicum"))
	if strings.Contains(plain, "compat") {
		t.Errorf("the shims are in everybody's way: %s", plain)
	}
}
