// Runs a program in namespaces of its own, under a Landlock rule and a filter that
// permit everything: what each sandbox of that kind costs that hides and refuses
// nothing.
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(const char *path, const char *text, int n) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, n) != n)
		err(125, "%s", path);
	close(fd);
}

static void namespaces(void) {
	char map[64];
	int uid = getuid(), gid = getgid();
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		err(125, "unshare");
	put("/proc/self/setgroups", "deny", 4);
	put("/proc/self/uid_map", map, snprintf(map, sizeof map, "%d %d 1", uid, uid));
	put("/proc/self/gid_map", map, snprintf(map, sizeof map, "%d %d 1", gid, gid));
}

static void landlock(void) {
	__u64 all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; // of the first ABI
	struct landlock_ruleset_attr handled = {.handled_access_fs = all};
	int rules = syscall(SYS_landlock_create_ruleset, &handled, sizeof handled.handled_access_fs, 0);
	struct landlock_path_beneath_attr root = {.allowed_access = all, .parent_fd = open("/", O_PATH | O_CLOEXEC)};
	if (rules < 0 || syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &root, 0) < 0)
		err(125, "landlock");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		err(125, "landlock");
	close(root.parent_fd);
	close(rules);
}

static void filter(void) {
	struct sock_filter permit = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog all = {1, &permit};
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &all) < 0)
		err(125, "seccomp");
}

int main(int argc, char **argv) {
	if (argc < 2)
		errx(125, "no program");
	namespaces();
	pid_t child = vfork(); // the first in the pid namespace
	if (child < 0)
		err(125, "vfork");
	if (child == 0) {
		landlock();
		filter();
		execv(argv[1], argv + 1);
		err(127, "%s", argv[1]);
	}
	int status;
	if (waitpid(child, &status, 0) < 0)
		err(125, "wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
