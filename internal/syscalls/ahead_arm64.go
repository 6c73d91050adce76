package syscalls

import _ "embed"

//go:embed ahead_arm64.bin
var compiledAhead []byte
