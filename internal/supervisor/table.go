package supervisor

import (
	"maps"

	"github.com/capsicum-go/capsicum/internal/policy"
)

// handlers answers the calls that ask under both engines.
var handlers = map[string]Handler{}

// handlersOf returns the dispatch table of an engine. The landlock engine
// answers every call that takes a name by walking the plan; what both engines
// answer it answers its own way where it has one.
func handlersOf(engine policy.Engine) map[string]Handler {
	table := maps.Clone(handlers)
	if engine == policy.EngineLandlock {
		maps.Copy(table, pathHandlers)
	}
	return table
}
