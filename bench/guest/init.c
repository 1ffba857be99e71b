/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PID 1 of the benchmark guest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <time.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char cmdline[4096];

int main(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	dprintf(1, "BENCH-INIT %ld.%03ld\n", (long)t.tv_sec, t.tv_nsec / 1000000);
	mkdir("/proc", 0755); mkdir("/sys", 0755); mkdir("/dev", 0755); mkdir("/tmp", 01777); mkdir("/mnt", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	int fd = open("/proc/cmdline", O_RDONLY);
	if (fd >= 0 && read(fd, cmdline, sizeof cmdline - 1) < 0)
		cmdline[0] = 0;
	if (!strstr(cmdline, "bench=none")) {
		mount("sys", "/sys", "sysfs", 0, NULL);
		mount("dev", "/dev", "devtmpfs", 0, NULL);
		mount("tmp", "/tmp", "tmpfs", 0, NULL);
		char *const argv[] = { "sh", "/run.sh", NULL };
		if (strstr(cmdline, "bench=debian"))
			execv("/bin/busybox", argv);
		pid_t p = fork();
		if (p == 0) {
			execv("/bin/busybox", argv);
			_exit(127);
		}
		waitpid(p, NULL, 0);
		dprintf(1, "BENCH-END\n");
		usleep(700000);    /* the runner reads the emulator's memory map now */
	}
	sync();
	reboot(RB_AUTOBOOT);
	pause();
}
