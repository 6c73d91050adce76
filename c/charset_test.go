package c

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestCharset: setlocale prepares what a confined program reads and writes, as on FreeBSD.
func TestCharset(t *testing.T) {
	locales := filepath.Join(built, "locales")
	if err := os.MkdirAll(locales, 0o755); err != nil {
		t.Fatal(err)
	}
	// The charset and the locale are of the package locales. -c: it may warn of names that are missing.
	command(t, nil, "localedef", "-c", "-f", "EUC-JP", "-i", "ja_JP", filepath.Join(locales, "ja_JP.EUC-JP"))
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() == 0 {
		users["user"] = &syscall.Credential{Uid: 1500, Gid: 1500}
	}
	lib := library(t, "shared", "gcc", "-O2 -g")
	t.Setenv("LOCPATH", locales)
	t.Setenv("LC_ALL", "ja_JP.EUC-JP")
	archive := filepath.Join(lib, "libcapsicum.a")
	for name, link := range map[string][]string{
		"shared": {"-L" + lib, "-Wl,-rpath," + lib, "-lcapsicum"}, "archive": {archive}, "static": {"-static", archive},
	} {
		path := filepath.Join(built, "charset-"+name)
		command(t, nil, "gcc", append([]string{"-std=c11", "-Wall", "-Wextra", "-Werror", "-Iinclude", "tests/charset.c", "-o", path}, link...)...)
		for who, cred := range users {
			for _, alone := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/alone=%v", name, who, alone), func(t *testing.T) { runCase(t, path, "", cred, alone) })
			}
		}
	}
}
