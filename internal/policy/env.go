package policy

import "strings"

// EnvVar is one --env.
type EnvVar struct {
	Flag    string
	Key     string
	Value   string // unless Inherit
	Inherit bool   // take the caller's value, if it has one
}

// ParseEnv reads the value of --env: "K" passes the caller's variable on, "K=V"
// sets one.
func ParseEnv(flag, value string) (EnvVar, error) {
	key, v, set := strings.Cut(value, "=")
	switch {
	case key == "":
		return EnvVar{}, fail(flag, value, "the variable's name is empty")
	case strings.IndexByte(value, 0) >= 0:
		return EnvVar{}, fail(flag, value, "the variable has a NUL byte")
	}
	return EnvVar{Flag: spelled(flag, value), Key: key, Value: v, Inherit: !set}, nil
}

// defaultEnv are the variables that programs need to behave as the user
// expects and that carry no secrets. A trailing "*" stands for any ending.
var defaultEnv = []string{"PATH", "HOME", "TERM", "LANG", "LC_*", "TZ", "COLORTERM"}

// Environ returns the program's environment: the default variables of the
// caller's environment unless clear is set, then what vars say, the last one
// winning. Of a name that the caller's environment has twice the first counts,
// as for getenv(3).
func Environ(vars []EnvVar, caller []string, clear bool) []string {
	have := make(map[string]string)
	e := environ{index: make(map[string]int)}
	for _, kv := range caller {
		key, value, ok := strings.Cut(kv, "=")
		if _, twice := have[key]; !ok || key == "" || twice {
			continue
		}
		have[key] = value
		if !clear && isDefault(key) {
			e.set(key, value)
		}
	}
	for _, v := range vars {
		if !v.Inherit {
			e.set(v.Key, v.Value)
		} else if value, ok := have[v.Key]; ok {
			e.set(v.Key, value)
		}
	}
	return e.list
}

// environ is a list of K=V in which each K is once.
type environ struct {
	list  []string
	index map[string]int
}

func (e *environ) set(key, value string) {
	i, ok := e.index[key]
	if !ok {
		i = len(e.list)
		e.index[key] = i
		e.list = append(e.list, "")
	}
	e.list[i] = key + "=" + value
}

func isDefault(key string) bool {
	for _, pattern := range defaultEnv {
		prefix, open := strings.CutSuffix(pattern, "*")
		if key == pattern || open && strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}
