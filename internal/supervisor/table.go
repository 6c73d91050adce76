package supervisor

import "github.com/capsicum-go/capsicum/internal/policy"

// handlers answers what is the same under both engines: what is done to
// descriptors, sockets and processes. Tables are put together when a supervisor
// is made, not in every process that could be one.
func handlers() map[string]Handler { return merged(fdHandlers, socketHandlers, processHandlers) }

// handlersOf returns the dispatch table of an engine. Names mean what the
// engine makes them mean.
func handlersOf(engine policy.Engine) map[string]Handler {
	if engine == policy.EngineLandlock {
		return merged(handlers(), pathHandlers())
	}
	return merged(handlers(), nameHandlers)
}
