package elfdeps

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// headSize is how much of a file the kernel looks at to tell what it is. Older
// kernels look at 128 bytes; a line that only newer ones understand fails there
// as it would without us.
const headSize = 256

// shebang reads the first line of a script as the kernel does: head is the first
// 256 bytes, zero-padded. It returns false when execve would say ENOEXEC.
func shebang(head []byte) (interp, arg string, ok bool) {
	buf := make([]byte, headSize)
	copy(buf, head)
	if buf[0] != '#' || buf[1] != '!' {
		return "", "", false
	}
	line := buf[2:]
	if end := bytes.IndexAny(line, "\n\x00"); end >= 0 {
		line = line[:end]
	} else {
		// No end in sight: fine while the interpreter's own name is not cut off.
		name := bytes.TrimLeft(line, " \t")
		if !bytes.ContainsAny(name, " \t") {
			return "", "", false
		}
		line = line[:len(line)-1]
	}
	text := strings.Trim(string(line), " \t")
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return text, "", text != ""
	}
	return text[:i], strings.TrimLeft(text[i:], " \t"), true
}

// maxScripts is how many interpreters in a row may be scripts themselves,
// counting the program.
const maxScripts = 5

// envProgram returns the program that env(1) will look up, given the one
// argument that a #! line can pass on. With -S env splits it into words, options
// and assignments before the program.
func envProgram(interp, arg string) (string, bool) {
	if path.Base(interp) != "env" || arg == "" {
		return "", false
	}
	words := []string{arg}
	if rest, ok := cutSplit(arg); ok {
		words = strings.Fields(rest)
	}
	for i := 0; i < len(words); i++ {
		word := strings.Trim(words[i], `"'`)
		switch {
		case slices.Contains(takesWord, word):
			i++
		case word == "" || strings.HasPrefix(word, "-") || strings.Contains(word, "="):
		default:
			return word, true
		}
	}
	return "", false
}

// takesWord are the options of env(1) whose value is the next word.
var takesWord = []string{"-u", "-C", "-P", "--unset", "--chdir"}

// cutSplit removes the option that asks env to split, alone or at the end of a
// group of short ones: -S, -vS, --split-string=.
func cutSplit(arg string) (string, bool) {
	if rest, ok := strings.CutPrefix(arg, "--split-string"); ok {
		return strings.TrimLeft(rest, "= "), true
	}
	if !strings.HasPrefix(arg, "-") || strings.HasPrefix(arg, "--") {
		return "", false
	}
	group, rest, found := strings.Cut(arg[1:], "S")
	if !found || strings.Trim(group, "iv0") != "" {
		return "", false
	}
	return rest, true
}
