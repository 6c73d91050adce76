package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/capsicum-go/capsicum/internal/launch"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/resolve"
	"github.com/capsicum-go/capsicum/rights"
)

// runCmd is "capsicum [run] [grants] [--] [program [args …]]". Lists are not
// split at commas: a path may have one.
type runCmd struct {
	line

	RO  []string `long:"ro" unquote:"false" value-name:"PATH" in:"Files" description:"Look up, list, read and map PATH. A directory means all beneath it. SRC:DST shows it under another name; ?PATH may be missing."`
	ROX []string `long:"rox" unquote:"false" value-name:"PATH" in:"Files" description:"As --ro, and execute."`
	RW  []string `long:"rw" unquote:"false" value-name:"PATH" in:"Files" description:"As --ro, and write, create, remove, rename, truncate, lock."`
	RWX []string `long:"rwx" unquote:"false" value-name:"PATH" in:"Files" description:"As --rw, and execute."`
	Cap []string `long:"cap" unquote:"false" value-name:"PATH=RIGHTS" in:"Files" description:"Exactly these rights(4), e.g. /data=lookup,read,fstat. See capsicum rights."`

	System toggle `long:"system" optional:"1" optional-value:"yes" in:"Files" description:"The operating system's programs, libraries, certificates, time zones and locale: read and execute."`
	Tmp    toggle `long:"tmp" optional:"1" optional-value:"yes" in:"Files" description:"A private empty /tmp."`
	NoDev  toggle `long:"no-dev" optional:"1" optional-value:"yes" in:"Files" description:"No minimal /dev."`
	NoProc toggle `long:"no-proc" optional:"1" optional-value:"yes" in:"Files" description:"No /proc of the sandbox's own processes."`
	Pty    toggle `long:"pty" optional:"1" optional-value:"yes" in:"Files" description:"Pseudo terminals of its own: /dev/ptmx and /dev/pts."`

	FD       []string `long:"fd" unquote:"false" value-name:"N[=RIGHTS]" in:"Process" description:"Keep the inherited descriptor N, beside 0, 1 and 2."`
	Env      []string `long:"env" unquote:"false" value-name:"K[=V]" in:"Process" description:"Pass a variable on, or set one. PATH HOME TERM LANG LC_* TZ COLORTERM are passed on by themselves."`
	ClearEnv toggle   `long:"clear-env" optional:"1" optional-value:"yes" in:"Process" description:"Begin with an empty environment."`
	Cwd      string   `long:"cwd" unquote:"false" value-name:"DIR" in:"Process" description:"Start in DIR, a name inside the sandbox."`
	Hostname string   `long:"hostname" unquote:"false" value-name:"NAME" in:"Process" description:"A host name of its own."`
	Limit    []string `long:"limit" unquote:"false" value-name:"LIMITS" in:"Process" description:"Resource limits: mem=512M,procs=64,files=256,cpu=10s."`
	Linger   toggle   `long:"linger" optional:"1" optional-value:"yes" in:"Process" description:"Processes that the program leaves behind may go on after it."`

	Net toggle `long:"net" optional:"1" optional-value:"yes" in:"Network" description:"The host's network, all of it. Without it there is none."`

	Engine      string   `long:"engine" unquote:"false" value-name:"NAME" choice:"auto" choice:"namespaces" choice:"landlock" in:"Enforcement" description:"Which engine hides what is not granted: auto, namespaces, landlock."`
	AllowWeaker []string `long:"allow-weaker" unquote:"false" value-name:"LOSS" in:"Enforcement" description:"Accept one named loss where this machine can not enforce everything. See capsicum help weaker."`

	Capsicum toggle `long:"capsicum" optional:"1" optional-value:"yes" in:"Enforcement" description:"What is started may confine itself with Capsicum's library, and gets this run's supervisor for it. Programs that have the library themselves need no flag; programs that start them do."`

	DryRun   toggle `long:"dry-run" optional:"1" optional-value:"yes" in:"Output" description:"Print what would exist and what would enforce each line; run nothing."`
	JSON     toggle `long:"json" optional:"1" optional-value:"yes" in:"Output" description:"With --dry-run: print JSON."`
	StatusFD string `long:"status-fd" unquote:"false" value-name:"N" in:"Output" description:"Write JSON lines about the program to descriptor N."`
}

// granting are the flags that take a name, and what each grants on it.
func (c *runCmd) granting() []struct {
	flag   string
	values []string
	set    rights.Set
} {
	return []struct {
		flag   string
		values []string
		set    rights.Set
	}{
		{"--ro", c.RO, policy.RO}, {"--rox", c.ROX, policy.ROX},
		{"--rw", c.RW, policy.RW}, {"--rwx", c.RWX, policy.RWX},
	}
}

func (c *runCmd) run(a *app) (int, error) {
	if c.JSON && !c.DryRun {
		return 0, &flagError{"--json", errors.New("only --dry-run prints anything"), "for a run, use --status-fd N"}
	}
	p, err := c.policy(os.Environ())
	if err != nil {
		return 0, err
	}
	st, err := c.statusFile(p)
	if err != nil {
		return 0, err
	}
	status, err := c.start(a, p, st)
	if err != nil {
		st.refused(statusOf(err), message(err))
	}
	return status, err
}

func (c *runCmd) start(a *app, p *policy.Policy, st *statusFile) (int, error) {
	var l *launch.Launch
	if !c.DryRun {
		l = launch.Begin(p)
		defer l.Close()
	}
	cwd, err := os.Getwd()
	if err != nil {
		return 0, fmt.Errorf("find the working directory: %w", err)
	}
	pl, err := resolve.Build(p, resolve.Host{Cwd: cwd, Tty: launch.Terminal(), Warn: a.warn})
	if err != nil {
		return 0, err
	}
	choice, err := launch.Choose(p, pl)
	if err != nil {
		return 0, err
	}
	if c.DryRun {
		return exitOK, c.show(a, p, pl, choice)
	}
	return l.Run(pl, choice, launch.Options{Events: st.event})
}

func (c *runCmd) show(a *app, p *policy.Policy, pl *plan.Plan, choice launch.Choice) error {
	d := newDryRun(p, pl, choice)
	if c.JSON {
		return writeJSON(a.Out, d)
	}
	return d.print(a.Out)
}

// policy turns the flags into a policy. environ is the caller's environment.
func (c *runCmd) policy(environ []string) (*policy.Policy, error) {
	p := &policy.Policy{
		Argv: program(c.words), System: bool(c.System), Tmp: bool(c.Tmp), Dev: !bool(c.NoDev), Proc: !bool(c.NoProc),
		Pty: bool(c.Pty), Net: bool(c.Net), Cwd: c.Cwd, Hostname: c.Hostname, Linger: bool(c.Linger), Library: bool(c.Capsicum), Engine: policy.Engine(c.Engine),
	}
	for _, step := range []func(*policy.Policy) error{c.grants, c.descriptors, c.limits, c.weaker} {
		if err := step(p); err != nil {
			return nil, err
		}
	}
	var vars []policy.EnvVar
	for _, value := range c.Env {
		v, err := policy.ParseEnv("--env", value)
		if err != nil {
			return nil, err
		}
		vars = append(vars, v)
	}
	p.Env = policy.Environ(vars, environ, bool(c.ClearEnv))
	return p, nil
}

// program is what to run.
func program(argv []string) []string {
	if len(argv) == 0 {
		return []string{cmp.Or(os.Getenv("SHELL"), "/bin/sh")}
	}
	return argv
}

func (c *runCmd) grants(p *policy.Policy) error {
	for _, g := range c.granting() {
		for _, value := range g.values {
			grant, err := policy.ParseGrant(g.flag, value, g.set)
			if err != nil {
				return err
			}
			p.Grants = append(p.Grants, grant)
		}
	}
	for _, value := range c.Cap {
		grant, err := policy.ParseCap("--cap", value)
		if err != nil {
			return err
		}
		p.Grants = append(p.Grants, grant)
	}
	return nil
}

func (c *runCmd) descriptors(p *policy.Policy) error {
	seen := map[int]string{}
	for _, value := range c.FD {
		fd, err := policy.ParseFD("--fd", value)
		if err != nil {
			return err
		}
		if first, twice := seen[fd.Num]; twice {
			return &flagError{fd.Flag, fmt.Errorf("descriptor %d was granted already by %s", fd.Num, first), "name it once"}
		}
		seen[fd.Num] = fd.Flag
		if !inherited(fd.Num) {
			return &flagError{fd.Flag, unix.EBADF, fmt.Sprintf("open it for capsicum first: capsicum --fd %d … %d<FILE", fd.Num, fd.Num)}
		}
		p.FDs = append(p.FDs, fd)
	}
	return nil
}

// inherited reports whether the caller gave us descriptor n. What the Go
// runtime opened for itself closes on exec, so it can not have come by one.
func inherited(n int) bool {
	flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

func (c *runCmd) limits(p *policy.Policy) error {
	for _, value := range c.Limit {
		l, err := policy.ParseLimit("--limit", value)
		if err != nil {
			return err
		}
		p.Limits = append(p.Limits, l...)
	}
	return nil
}

func (c *runCmd) weaker(p *policy.Policy) error {
	for _, value := range c.AllowWeaker {
		names, err := policy.ParseWeaker("--allow-weaker", value)
		if err != nil {
			return &flagError{"--allow-weaker " + shown(value), errors.Unwrap(err), "see capsicum help weaker"}
		}
		p.AllowWeaker = append(p.AllowWeaker, names...)
	}
	return nil
}

// joined is a list as one cell of a table.
func joined(list []string) string { return strings.Join(list, ", ") }
