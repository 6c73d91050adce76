package conformance

import "encoding/binary"

const machine = 183 // EM_AARCH64

// machineCode returns the calls of an image.
func machineCode(steps []step) []byte {
	le := binary.LittleEndian
	var code []byte
	emit := func(words ...uint32) {
		for _, w := range words {
			code = le.AppendUint32(code, w)
		}
	}
	load := func(register uint32, value uint64) {
		emit(0xd2800000 | uint32(value&0xffff)<<5 | register) // movz
		for part := uint32(1); part < 4; part++ {
			emit(0xf2800000 | part<<21 | uint32(value>>(16*part)&0xffff)<<5 | register) // movk
		}
	}
	for _, s := range steps {
		for i, a := range s.args {
			load(uint32(i), uint64(a))
		}
		load(8, uint64(s.nr))
		emit(0xd4000001)                                 // svc #0
		emit(0x36f80000 | 4<<5)                          // tbz w0, #31, over the next three
		emit(0x4b0003e0, 0xd2800000|94<<5|8, 0xd4000001) // neg w0, w0; mov x8, SYS_exit_group; svc #0
	}
	emit(0xd2800000, 0xd2800000|94<<5|8, 0xd4000001) // mov x0, 0; the same
	return code
}
