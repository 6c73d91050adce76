package supervisor

import (
	"slices"

	"github.com/capsicum-go/capsicum/internal/policy"
)

// answer is a row of a dispatch table: a call and what answers it. Tables are
// functions, so that only a process that supervises pays for them: at package
// level each would be put together at every start of the command.
type answer struct {
	call string
	by   Handler
}

// handlers answers what is the same under both engines: opening, and what is done to
// descriptors, sockets and processes.
func handlers() []answer {
	return slices.Concat(openHandlers(), fdHandlers(), socketHandlers(), processHandlers())
}

// pathHandlers answers the calls that take a name under the landlock engine.
func pathHandlers() []answer {
	return slices.Concat(statHandlers(), changeHandlers(), metaHandlers(), xattrHandlers(), cwdHandlers(), execHandlers())
}

// answersOf returns the rows of an engine. Names mean what the engine makes
// them mean.
func answersOf(engine policy.Engine) []answer {
	if engine == policy.EngineLandlock {
		return append(handlers(), pathHandlers()...)
	}
	return append(handlers(), nameHandlers()...)
}

// Handlers returns the dispatch table of an engine.
func Handlers(engine policy.Engine) map[string]Handler {
	rows := answersOf(engine)
	table := make(map[string]Handler, len(rows))
	for _, r := range rows {
		table[r.call] = r.by
	}
	return table
}
