package supervisor

// pathHandlers answers the calls that take a name under the landlock engine.
var pathHandlers = map[string]Handler{}
