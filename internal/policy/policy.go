// Package policy holds what a user granted: pure data, parsed and checked,
// never looked up on the machine. [internal/resolve] turns it into a plan.
package policy

import "github.com/capsicum-go/capsicum/rights"

// Policy is everything the command line said.
type Policy struct {
	Argv   []string // the program and its arguments; never empty
	Grants []Grant  // file system grants, in the order given (order means nothing)

	System bool // --system: the operating system's runtime
	Tmp    bool // --tmp: a private empty /tmp
	Dev    bool // a minimal /dev (default true, --no-dev)
	Proc   bool // a /proc of the sandbox's own processes (default true, --no-proc)
	Pty    bool // --pty: /dev/ptmx and /dev/pts of its own
	Net    bool // --net: the host's network

	FDs      []FD     // --fd N[=rights], beside 0, 1 and 2
	Env      []string // the complete environment, K=V
	Cwd      string   // --cwd, a name inside the sandbox; "" is chosen by resolve
	Hostname string   // --hostname; "" keeps the host's
	Limits   []Limit  // --limit

	Engine      Engine   // --engine; EngineAuto unless picked by hand
	AllowWeaker []string // --allow-weaker: names of losses the user accepts
	Linger      bool     // --linger: orphans may outlive the program
	Library     bool     // --capsicum: what is started may confine itself, whatever it looks like
}

// Grant gives rights on one tree or file.
type Grant struct {
	Flag     string     // as the user wrote it, for messages: "--ro /usr:/x"
	Source   string     // name on the host, absolute or relative to the caller's directory
	Dest     string     // name in the sandbox; equal to Source when no :DST was given
	Rights   rights.Set // what may be done beneath it
	Optional bool       // a missing source is no error
}

// FD is an inherited descriptor that the program keeps under its own number.
type FD struct {
	Flag   string
	Num    int
	Rights *rights.Set // nil keeps what the descriptor has
}

// Limit is one resource limit.
type Limit struct {
	Flag     string
	Resource string // mem, procs, files, cpu
	Value    uint64 // bytes, count, count, seconds
}

// Engine says what makes names disappear.
type Engine string

// The engines. See docs/architecture.md.
const (
	EngineAuto       Engine = "auto"
	EngineNamespaces Engine = "namespaces"
	EngineLandlock   Engine = "landlock"
)
