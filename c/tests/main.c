#define _GNU_SOURCE
#include <dirent.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"

int alone;

static const struct test_case *const all[] = {set_cases, limit_cases, mode_cases, process_cases, crippled_cases, shm_cases, procdesc_cases, pdwait_cases, poll_cases, stream_cases};

int scratch(void)
{
	int fd = memfd_create("scratch", MFD_CLOEXEC);
	SUCCEEDS(fd);
	CHECK(write(fd, "0123456789", 10) == 10);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

int limit(int fd, ...)
{
	cap_rights_t r;
	uint64_t right;
	va_list list;
	cap_rights_init(&r);
	va_start(list, fd);
	while ((right = va_arg(list, uint64_t)) != 0)
		cap_rights_set(&r, right);
	va_end(list);
	return cap_rights_limit(fd, &r);
}

void in_child(void (*f)(void *), void *arg)
{
	int status;
	pid_t pid = fork();
	SUCCEEDS(pid);
	if (pid == 0) {
		f(arg);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
}

int supervisor_of(int pid)
{
	struct dirent *entry;
	int found = 0;
	DIR *dir = opendir("/proc");
	CHECK(dir);
	while (!found && (entry = readdir(dir))) {
		char path[300], line[100] = "", want[100];
		snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
		int fd = atoi(entry->d_name) > 0 ? open(path, O_RDONLY) : -1;
		if (fd < 0)
			continue;
		ssize_t n = read(fd, line, sizeof line - 1);
		int length = snprintf(want, sizeof want, "capsicum: supervisor of%c%d", 0, pid);
		if (n == length + 1 && memcmp(line, want, (size_t)n) == 0)
			found = atoi(entry->d_name);
		close(fd);
	}
	closedir(dir);
	return found;
}

/* Without arguments lists the cases, which Go's test runs one by one. */
int main(int argc, char **argv)
{
	alone = getenv("TEST_ALONE") != NULL;
	alarm(240);
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		for (const struct test_case *c = all[i]; c->name; c++) {
			if (argc < 2)
				puts(c->name);
			else if (strcmp(argv[1], c->name) == 0) {
				c->run();
				return 0;
			}
		}
	return argc < 2 ? 0 : 2;
}
