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

#define SYS_rt_sigprocmask 14
#define SYS_clone 56
#define SYS_exit_group 231

#define SIG_BLOCK 0
#define SIG_SETMASK 2

// func spawn(flags uintptr, first *step) (n, errno uintptr)
//
// Signals are blocked for the child only, so that no Go code runs meanwhile. The
// child shares its parent's stack, which the parent goes on using, and must not
// touch it: from the clone on it uses registers only. R12 is the current step.
TEXT ·spawn(SB),NOSPLIT,$16-32
	MOVQ	$-1, all-16(SP)
	MOVQ	$SIG_BLOCK, DI
	LEAQ	all-16(SP), SI
	LEAQ	old-8(SP), DX
	MOVQ	$8, R10
	MOVQ	$SYS_rt_sigprocmask, AX
	SYSCALL
	MOVQ	flags+0(FP), DI
	MOVQ	first+8(FP), R12
	XORQ	SI, SI
	XORQ	DX, DX
	XORQ	R10, R10
	XORQ	R8, R8
	XORQ	R9, R9
	MOVQ	$SYS_clone, AX
	SYSCALL
	TESTQ	AX, AX
	JZ	run
	MOVQ	AX, R13
	MOVQ	$SIG_SETMASK, DI
	LEAQ	old-8(SP), SI
	XORQ	DX, DX
	MOVQ	$8, R10
	MOVQ	$SYS_rt_sigprocmask, AX
	SYSCALL
	MOVQ	R13, n+16(FP)
	MOVQ	$0, errno+24(FP)
	CMPQ	R13, $0xfffffffffffff001
	JCC	refused
	RET

refused:
	NEGQ	R13
	MOVQ	$0, n+16(FP)
	MOVQ	R13, errno+24(FP)
	RET

run:
	MOVQ	KIND(R12), AX
	CMPQ	AX, $2
	JEQ	equal
	CMPQ	AX, $3
	JEQ	skip
	CMPQ	AX, $4
	JEQ	each
args:
	MOVQ	DEREF(R12), R13
	MOVQ	ARG0(R12), DI
	BTQ	$0, R13
	JCC	arg1
	MOVL	(DI), DI
arg1:
	MOVQ	ARG1(R12), SI
	BTQ	$1, R13
	JCC	arg2
	MOVL	(SI), SI
arg2:
	MOVQ	ARG2(R12), DX
	BTQ	$2, R13
	JCC	arg3
	MOVL	(DX), DX
arg3:
	MOVQ	ARG3(R12), R10
	BTQ	$3, R13
	JCC	arg4
	MOVL	(R10), R10
arg4:
	MOVQ	ARG4(R12), R8
	BTQ	$4, R13
	JCC	arg5
	MOVL	(R8), R8
arg5:
	MOVQ	ARG5(R12), R9
	BTQ	$5, R13
	JCC	call
	MOVL	(R9), R9
call:
	MOVQ	NR(R12), AX
	SYSCALL
	CMPQ	AX, $0xfffffffffffff001
	JCC	failed
	CMPQ	KIND(R12), $4
	JEQ	bit
	CMPQ	KIND(R12), $1
	JNE	store
	TESTQ	AX, AX
	JNZ	store
	MOVQ	JUMP(R12), R12
	JMP	run

store:
	MOVQ	OUT(R12), BX
	TESTQ	BX, BX
	JZ	next
	MOVL	AX, (BX)
next:
	ADDQ	$STEP, R12
	JMP	run

equal:
	MOVQ	ARG0(R12), BX
	MOVQ	(BX), BX
	MOVQ	ARG2(R12), AX
	CMPQ	BX, ARG1(R12)
	JEQ	next
	JMP	report

skip:
	MOVQ	ARG0(R12), BX
	MOVL	(BX), CX
	ANDL	ARG1(R12), CX
	JNZ	next
	MOVQ	JUMP(R12), R12
	JMP	run

each:
	MOVQ	ARG5(R12), R14
bit:
	BSFQ	R14, BX
	JEQ	next
	LEAQ	-1(R14), CX
	ANDQ	CX, R14
	ADDQ	$1, BX
	MOVQ	OUT(R12), CX
	MOVL	BX, (CX)
	JMP	args

failed:
	NEGQ	AX
	CMPQ	AX, FORGIVE(R12)
	JEQ	next
report:
	MOVQ	REPORT(R12), BX
	MOVQ	AX, 8(BX)
	MOVQ	R12, 0(BX)
	MOVQ	$125, DI
	MOVQ	$SYS_exit_group, AX
	SYSCALL
	INT	$3
