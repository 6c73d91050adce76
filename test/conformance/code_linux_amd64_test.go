package conformance

import "encoding/binary"

const machine = 62 // EM_X86_64

// machineCode returns the calls of an image.
func machineCode(steps []step) []byte {
	le := binary.LittleEndian
	var code []byte
	for _, s := range steps {
		code = le.AppendUint64(append(code, 0x48, 0xb8), uint64(s.nr)) // mov rax, nr
		for i, op := range [6][2]byte{{0x48, 0xbf}, {0x48, 0xbe}, {0x48, 0xba}, {0x49, 0xba}, {0x49, 0xb8}, {0x49, 0xb9}} {
			code = le.AppendUint64(append(code, op[:]...), uint64(s.args[i])) // mov rdi … r9, argument
		}
		code = append(code, 0x0f, 0x05, 0x85, 0xc0) // syscall; test eax, eax
		code = append(code, 0x79, 0x0b)             // jns over the next 11 bytes
		code = append(code, 0xf7, 0xd8, 0x89, 0xc7) // neg eax; mov edi, eax
		code = append(code, exitGroup...)
	}
	code = append(code, 0x31, 0xff) // xor edi, edi
	return append(code, exitGroup...)
}

// exitGroup is mov eax, SYS_exit_group; syscall.
var exitGroup = []byte{0xb8, 231, 0, 0, 0, 0x0f, 0x05}
