#include "textflag.h"

#define SYS_write 1
#define SYS_rt_sigreturn 15
#define SYS_prctl 157
#define PR_SET_TIMERSLACK 29

// The kernel calls it with the number in DI, on the thread's signal stack.
TEXT deliver<>(SB),NOSPLIT|NOFRAME,$0
	PUSHQ	DI
	MOVL	·deliverTo(SB), DI
	MOVQ	SP, SI
	MOVL	$4, DX
	MOVL	$SYS_write, AX
	SYSCALL
	POPQ	DI
	RET

TEXT restore<>(SB),NOSPLIT|NOFRAME,$0
	MOVL	$SYS_rt_sigreturn, AX
	SYSCALL
	INT	$3

TEXT ·deliverPC(SB),NOSPLIT,$0-8
	LEAQ	deliver<>(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·restorePC(SB),NOSPLIT,$0-8
	LEAQ	restore<>(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

// 2 ms, in nanoseconds.
TEXT calm<>(SB),NOSPLIT|NOFRAME,$0
	MOVL	$PR_SET_TIMERSLACK, DI
	MOVL	$2000000, SI
	MOVL	$SYS_prctl, AX
	SYSCALL
	RET

TEXT ·calmPC(SB),NOSPLIT,$0-8
	LEAQ	calm<>(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
