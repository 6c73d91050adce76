/* Calls that fail as an old kernel, or a sandbox, has them fail. */
#define _GNU_SOURCE
#include <stddef.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include "check.h"

void refuse(long call, int error)
{
	struct sock_filter code[] = {
		{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
		{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (unsigned)call},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | (unsigned)error},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
	};
	struct sock_fprog prog = {4, code};
	SUCCEEDS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	SUCCEEDS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
}
