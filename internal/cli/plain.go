package cli

import (
	"reflect"
	"strings"
)

// plain reads the command line of a run in its plain forms: --name, --name=value
// and --name value, then the program's words. Everything else, and every mistake,
// it leaves to the grammar by returning nil: building that costs a third of a
// start, and only it knows what to tell a user.
func plain(args []string) *runCmd {
	if args[0] != "run" {
		return nil
	}
	c := &runCmd{Engine: "auto"}
	seen := map[string]reflect.Value{}
	for args = args[1:]; len(args) > 0; {
		word := args[0]
		if word == "--" || !strings.HasPrefix(word, "-") {
			c.Argv = args
			break
		}
		name, value, glued := strings.Cut(strings.TrimPrefix(word, "--"), "=")
		field, again := seen[name]
		if !again {
			field = c.flag(name)
			seen[name] = field
		}
		if !field.IsValid() || !strings.HasPrefix(word, "--") {
			return nil
		}
		args = args[1:]
		if field.Kind() != reflect.Bool && !glued {
			if len(args) == 0 || strings.HasPrefix(args[0], "-") {
				return nil
			}
			value, args = args[0], args[1:]
		}
		if !assign(field, value, glued, again) {
			return nil
		}
	}
	switch c.Engine {
	case "auto", "namespaces", "landlock":
		return c
	}
	return nil
}

// flag returns the field of c that the flag called name sets.
func (c *runCmd) flag(name string) reflect.Value {
	for i := range runType.NumField() {
		tag := runType.Field(i).Tag
		if _, positional := tag.Lookup("arg"); !positional && tag.Get("name") == name {
			return reflect.ValueOf(c).Elem().Field(i)
		}
	}
	return reflect.Value{}
}

var runType = reflect.TypeFor[runCmd]()

// assign sets one flag, and reports whether that was plain.
func assign(field reflect.Value, value string, glued, again bool) bool {
	switch field.Kind() {
	case reflect.Bool:
		field.SetBool(true)
		return !glued
	case reflect.String:
		field.SetString(value)
		return !again
	case reflect.Slice:
		list := field.Addr().Interface().(*[]string)
		*list = append(*list, value)
		return true
	}
	return false
}
