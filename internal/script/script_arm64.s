#include "textflag.h"

// Layout of a step; script_test.go checks it.
#define NR 0
#define ARG0 8
#define ARG1 16
#define ARG2 24
#define ARG3 32
#define ARG4 40
#define ARG5 48
#define DEREF 56
#define OUT 64
#define FORGIVE 72
#define KIND 80
#define JUMP 88
#define REPORT 96
#define STEP 104

#define SYS_rt_sigprocmask 135
#define SYS_clone 220
#define SYS_exit_group 94

#define SIG_BLOCK 0
#define SIG_SETMASK 2

// func spawn(flags uintptr, first *step) (n, errno uintptr)
//
// Signals are blocked for the child only, so that no Go code runs meanwhile. The
// child shares its parent's stack, which the parent goes on using, and must not
// touch it: from the clone on it uses registers only. R20 is the current step.
TEXT ·spawn(SB),NOSPLIT,$16-32
	MOVD	$-1, R9
	MOVD	R9, all-16(SP)
	MOVD	$SIG_BLOCK, R0
	MOVD	$all-16(SP), R1
	MOVD	$old-8(SP), R2
	MOVD	$8, R3
	MOVD	$SYS_rt_sigprocmask, R8
	SVC
	MOVD	flags+0(FP), R0
	MOVD	first+8(FP), R20
	MOVD	ZR, R1
	MOVD	ZR, R2
	MOVD	ZR, R3
	MOVD	ZR, R4
	MOVD	ZR, R5
	MOVD	$SYS_clone, R8
	SVC
	CBZ	R0, run
	MOVD	R0, R21
	MOVD	$SIG_SETMASK, R0
	MOVD	$old-8(SP), R1
	MOVD	ZR, R2
	MOVD	$8, R3
	MOVD	$SYS_rt_sigprocmask, R8
	SVC
	MOVD	R21, n+16(FP)
	MOVD	ZR, errno+24(FP)
	CMN	$4095, R21
	BCS	refused
	RET

refused:
	NEG	R21, R21
	MOVD	ZR, n+16(FP)
	MOVD	R21, errno+24(FP)
	RET

run:
	MOVD	KIND(R20), R9
	CMP	$2, R9
	BEQ	equal
	CMP	$3, R9
	BEQ	skip
	CMP	$4, R9
	BEQ	each
args:
	MOVD	DEREF(R20), R10
	MOVD	ARG0(R20), R0
	TBZ	$0, R10, arg1
	MOVWU	(R0), R0
arg1:
	MOVD	ARG1(R20), R1
	TBZ	$1, R10, arg2
	MOVWU	(R1), R1
arg2:
	MOVD	ARG2(R20), R2
	TBZ	$2, R10, arg3
	MOVWU	(R2), R2
arg3:
	MOVD	ARG3(R20), R3
	TBZ	$3, R10, arg4
	MOVWU	(R3), R3
arg4:
	MOVD	ARG4(R20), R4
	TBZ	$4, R10, arg5
	MOVWU	(R4), R4
arg5:
	MOVD	ARG5(R20), R5
	TBZ	$5, R10, call
	MOVWU	(R5), R5
call:
	MOVD	NR(R20), R8
	SVC
	CMN	$4095, R0
	BCS	failed
	MOVD	KIND(R20), R9
	CMP	$4, R9
	BEQ	bit
	CMP	$1, R9
	BNE	store
	CBNZ	R0, store
	MOVD	JUMP(R20), R20
	B	run

store:
	MOVD	OUT(R20), R9
	CBZ	R9, next
	MOVW	R0, (R9)
next:
	ADD	$STEP, R20
	B	run

equal:
	MOVD	ARG0(R20), R9
	MOVD	(R9), R9
	MOVD	ARG1(R20), R10
	MOVD	ARG2(R20), R0
	CMP	R9, R10
	BEQ	next
	B	report

skip:
	MOVD	ARG0(R20), R9
	MOVWU	(R9), R9
	MOVD	ARG1(R20), R10
	ANDS	R10, R9, R9
	BNE	next
	MOVD	JUMP(R20), R20
	B	run

each:
	MOVD	ARG5(R20), R21
bit:
	CBZ	R21, next
	RBIT	R21, R9
	CLZ	R9, R9
	SUB	$1, R21, R10
	AND	R10, R21, R21
	ADD	$1, R9
	MOVD	OUT(R20), R10
	MOVW	R9, (R10)
	B	args

failed:
	NEG	R0, R0
	MOVD	FORGIVE(R20), R9
	CMP	R0, R9
	BEQ	next
report:
	MOVD	REPORT(R20), R9
	MOVD	R0, 8(R9)
	MOVD	R20, 0(R9)
	MOVD	$125, R0
	MOVD	$SYS_exit_group, R8
	SVC
	BRK
