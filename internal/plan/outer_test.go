package plan

import (
	"testing"

	"github.com/capsicum-go/capsicum/rights"
)

func TestOuter(t *testing.T) {
	create := rights.Of(rights.Create)
	p := &Plan{Entries: []Entry{
		host("/a", "/a", write),
		host("/a/b", "/x", read),
		host("/a/b/c", "/y", create),
		host("/a-b", "/z", create),
	}}
	for dest, want := range map[string]rights.Set{
		"/": {}, "/a": {}, "/a-b": {}, "/q/r": {}, "/a/b": write, "/a/b/c": write, "/a/b/c/d": write.Union(create),
	} {
		if got := p.Outer(dest); got != want {
			t.Errorf("Outer(%s) = %s, want %s", dest, got, want)
		}
	}
	p.Entries = []Entry{host("/", "/", write), host("/a", "/a", read)}
	if got := p.Outer("/a"); got != write {
		t.Errorf("beneath the root: %s", got)
	}
}
