package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is this release's; CHANGELOG.md says what is in it.
const Version = "0.1.0"

type versionCmd struct{ line }

func (*versionCmd) run(a *app) (int, error) {
	_, err := fmt.Fprintf(a.Out, "capsicum %s%s %s %s/%s\n", Version, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK, err
}

// revision is the commit that the build was made from, if it was.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return " (" + s.Value[:12] + ")"
		}
	}
	return ""
}
