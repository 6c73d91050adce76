#include "textflag.h"

#define SYS_write 64
#define SYS_prctl 167
#define PR_SET_TIMERSLACK 29

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

// 2 ms, in nanoseconds.
TEXT calm<>(SB),NOSPLIT|NOFRAME,$0
	MOVD	$PR_SET_TIMERSLACK, R0
	MOVD	$2000000, R1
	MOVD	$SYS_prctl, R8
	SVC
	RET

TEXT ·calmPC(SB),NOSPLIT,$0-8
	MOVD	$calm<>(SB), R0
	MOVD	R0, ret+0(FP)
	RET
