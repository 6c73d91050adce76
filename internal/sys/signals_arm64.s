#include "textflag.h"

#define SYS_write 64

// The kernel calls it with the number in R0, on the thread's signal stack, and
// the way back in R30.
TEXT deliver<>(SB),NOSPLIT|NOFRAME,$0
	MOVD.W	R0, -16(RSP)
	MOVW	·deliverTo(SB), R0
	MOVD	RSP, R1
	MOVD	$4, R2
	MOVD	$SYS_write, R8
	SVC
	ADD	$16, RSP
	RET

TEXT ·deliverPC(SB),NOSPLIT,$0-8
	MOVD	$deliver<>(SB), R0
	MOVD	R0, ret+0(FP)
	RET

TEXT ·restorePC(SB),NOSPLIT,$0-8
	MOVD	ZR, ret+0(FP)
	RET
