#include "textflag.h"

#define SYS_prctl 167
#define SYS_seccomp 277
#define PR_SET_NO_NEW_PRIVS 38
#define SECCOMP_SET_MODE_FILTER 1

// func giveUpAndFilter(flags uintptr, prog *unix.SockFprog) (n, unable, errno uintptr)
TEXT ·giveUpAndFilter(SB),NOSPLIT,$0-40
	MOVD	ZR, n+16(FP)
	MOVD	ZR, unable+24(FP)
	MOVD	ZR, errno+32(FP)
	MOVD	$PR_SET_NO_NEW_PRIVS, R0
	MOVD	$1, R1
	MOVD	ZR, R2
	MOVD	ZR, R3
	MOVD	ZR, R4
	MOVD	$SYS_prctl, R8
	SVC
	CMN	$4095, R0
	BCS	kept
	MOVD	$SECCOMP_SET_MODE_FILTER, R0
	MOVD	flags+0(FP), R1
	MOVD	prog+8(FP), R2
	MOVD	$SYS_seccomp, R8
	SVC
	CMN	$4095, R0
	BCS	refused
	MOVD	R0, n+16(FP)
	RET

kept:
	NEG	R0, R0
	MOVD	R0, unable+24(FP)
	RET

refused:
	NEG	R0, R0
	MOVD	R0, errno+32(FP)
	RET
