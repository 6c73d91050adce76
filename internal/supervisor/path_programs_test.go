package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/capsicum-go/capsicum/internal/exetest"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
)

// TestPrograms runs a shell script with the system's own programs, whose
// loader and C library take every name through the supervisor.
func TestPrograms(t *testing.T) {
	eachUser(t, func(t *testing.T, cred *syscall.Credential) {
		w, d := standard(t, cred)
		w.grant("/usr", "/usr", policy.ROX)
		w.grant("/dev/null", "/dev/null", policy.RW)
		for _, name := range []string{"/bin", "/lib", "/lib64"} {
			if target, err := os.Readlink(name); err == nil {
				w.links = append(w.links, plan.Link{Path: name, Target: target})
			}
		}
		script := `#!/bin/sh
exec 2>&1
cd DIR/rw || exit 9
pwd; /bin/pwd
ls -d .. / /proc /usr | tr '\n' ' '; echo
cat f; echo
cat ../secret /etc/passwd
echo new > made && cat < made && mv made moved && cp -p moved copied && ln -s moved ln && cat ln && rm -r moved copied ln
mkdir -p n/q/r && (cd n/q/r && pwd && cd ../.. && pwd) && find n && rm -rf n
cd / && ls -d usr && cd proc && ls -d self && cd .. && pwd
echo piped | cat | cat > /dev/null && echo done
ls /proc/self/fd > /dev/null && echo listed
[ -e /etc/passwd ] || echo none
tar -C DIR/ro -cf DIR/rw/t.tar . && mkdir DIR/rw/x && tar -C DIR/rw/x -xf DIR/rw/t.tar && cat DIR/rw/x/d/g && rm -r DIR/rw/x DIR/rw/t.tar
echo; touch DIR/ro/f; echo $?
`
		if err := exetest.WriteFile(d+"/ro/script", []byte(strings.ReplaceAll(script, "DIR", d)), 0o755); err != nil {
			t.Fatal(err)
		}
		w.entries[1].Rights = policy.ROX // the read-only tree holds the script
		v := w.run()
		got := strings.ReplaceAll(v.do("exec "+d+"/ro/script"), d, "DIR")
		want := `ran:DIR/rw
DIR/rw
.. / /proc /usr 
one
cat: ../secret: No such file or directory
cat: /etc/passwd: No such file or directory
new
new
DIR/rw/n/q/r
DIR/rw/n
n
n/q
n/q/r
usr
self
/
done
listed
none
four
touch: cannot touch 'DIR/ro/f': Read-only file system
1`
		if got != want {
			t.Errorf("script said:\n%s\nwant:\n%s", got, want)
		}
		if names, _ := filepath.Glob(d + "/rw/*tar*"); len(names) > 0 {
			t.Errorf("left: %v", names)
		}
	})
}
