#include "textflag.h"

#define SYS_prctl 157
#define SYS_seccomp 317
#define PR_SET_NO_NEW_PRIVS 38
#define SECCOMP_SET_MODE_FILTER 1

// func giveUpAndFilter(flags uintptr, prog *unix.SockFprog) (n, unable, errno uintptr)
TEXT ·giveUpAndFilter(SB),NOSPLIT,$0-40
	MOVQ	$0, n+16(FP)
	MOVQ	$0, unable+24(FP)
	MOVQ	$0, errno+32(FP)
	MOVQ	$PR_SET_NO_NEW_PRIVS, DI
	MOVQ	$1, SI
	XORQ	DX, DX
	XORQ	R10, R10
	XORQ	R8, R8
	MOVQ	$SYS_prctl, AX
	SYSCALL
	CMPQ	AX, $0xfffffffffffff001
	JCC	kept
	MOVQ	$SECCOMP_SET_MODE_FILTER, DI
	MOVQ	flags+0(FP), SI
	MOVQ	prog+8(FP), DX
	MOVQ	$SYS_seccomp, AX
	SYSCALL
	CMPQ	AX, $0xfffffffffffff001
	JCC	refused
	MOVQ	AX, n+16(FP)
	RET

kept:
	NEGQ	AX
	MOVQ	AX, unable+24(FP)
	RET

refused:
	NEGQ	AX
	MOVQ	AX, errno+32(FP)
	RET
