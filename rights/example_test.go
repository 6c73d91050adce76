package rights_test

import (
	"fmt"

	"github.com/capsicum-go/capsicum/rights"
)

func Example() {
	var s rights.Set
	s.Init(rights.Read, rights.Fstat).Set(rights.Seek)
	fmt.Println(s, s.IsSet(rights.Pread), s.IsSet(rights.Write))

	t, err := rights.Parse("CAP_READ,lookup")
	fmt.Println(t, err)

	_, err = rights.Parse("raed")
	fmt.Println(err)
	// Output:
	// pread,fstat true false
	// read,lookup <nil>
	// parse rights: unknown right "raed" (did you mean "read"?)
}

func ExampleFor() {
	needs, _ := rights.For("renameat")
	for _, need := range needs {
		fmt.Printf("%s: %s (%s)\n", need.Arg, need.Rights, need.When)
	}
	// Output:
	// olddir: renameat_source ()
	// newdir: renameat_target ()
	// newdir: unlinkat (the new name exists)
}

func ExampleSet_Missing() {
	held := rights.Of(rights.Read, rights.Lookup)
	fmt.Println(held.Missing(rights.Of(rights.Mkdirat, rights.Fstatat)))
	// Output: [fstat mkdirat]
}
