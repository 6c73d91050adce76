package launch

import (
	"os"
	"testing"

	"github.com/capsicum-go/capsicum/internal/landlock"
	"github.com/capsicum-go/capsicum/internal/nsenv"
	"github.com/capsicum-go/capsicum/internal/plan"
	"github.com/capsicum-go/capsicum/internal/policy"
	"github.com/capsicum-go/capsicum/internal/resolve"
	"github.com/capsicum-go/capsicum/internal/script"
)

func systemPlan(b *testing.B) (*policy.Policy, *plan.Plan) {
	p := &policy.Policy{Argv: []string{"/bin/true"}, System: true, Dev: true, Proc: true, Env: os.Environ(), Engine: policy.EngineNamespaces}
	pl, err := resolve.Build(p, resolve.Host{Cwd: "/", Warn: func(string) {}})
	if err != nil {
		b.Fatal(err)
	}
	return p, pl
}

// BenchmarkChoose is a part of every start, with --system.
func BenchmarkChoose(b *testing.B) {
	p, pl := systemPlan(b)
	for b.Loop() {
		if _, err := choose(p, pl, policy.EngineNamespaces); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSteps writes the program's steps down, with --system.
func BenchmarkSteps(b *testing.B) {
	_, pl := systemPlan(b)
	rules, err := landlock.New(1)
	if err != nil {
		b.Skip(err)
	}
	defer rules.Close()
	for b.Loop() {
		var seq script.Sequence
		nsenv.Begin(&seq, rules, script.NewValue()).Enter(&seq, pl)
	}
}
