package syscalls

import _ "embed"

//go:embed ahead_amd64.bin
var compiledAhead []byte
