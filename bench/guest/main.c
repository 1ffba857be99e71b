/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bw: runs workloads by group or by name.
 *   bw [-t secs] [-d dir] [-b disk] [-H host] [-p port] group-or-name...
 *   bw -l                            list
 *   bw [-t secs] -c name unit -- command...   time a command: runs per second
 */
#define _GNU_SOURCE
#include "bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/wait.h>

const char *opt_dir = "/tmp", *opt_disk, *opt_host, *opt_self;
int opt_port;
double opt_secs = 2.0;

double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

void die(const char *what)
{
	perror(what);
	_exit(3);
}

static const workload *const groups[] = { cpu_workloads, fp_workloads,
	branch_workloads, mem_workloads, sys_workloads, io_workloads };
#define NGROUPS (sizeof groups / sizeof *groups)

static void run(const workload *w)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		if (w->init && w->init()) {
			printf("SKIP %s.%s\n", w->group, w->name);
			fflush(NULL);
			_exit(0);
		}
		printf("START %s.%s\n", w->group, w->name);
		fflush(NULL);
		double t0 = now(), t;
		uint64_t sum = w->iter();
		long n = 1, bad = 0;
		while ((t = now() - t0) < opt_secs) {
			bad += w->iter() != sum;
			n++;
		}
		if (bad)
			printf("FAIL %s.%s checksum differs between iterations\n",
			       w->group, w->name);
		else
			printf("BENCH %s.%s %.6g %s sum=%016llx n=%ld t=%.4f\n",
			       w->group, w->name, n * w->ops / t, w->unit,
			       (unsigned long long)sum, n, t);
		fflush(NULL);
		if (w->fini)
			w->fini();
		_exit(0);
	}
	int st;
	if (pid < 0 || waitpid(pid, &st, 0) != pid)
		die("fork");
	if (st)
		printf("FAIL %s.%s status %#x\n", w->group, w->name, st);
}

static int timecmd(const char *name, const char *unit, char **argv)
{
	double t0 = now(), t, first = 0;
	long n = 0;
	printf("START %s\n", name);
	fflush(NULL);
	do {
		pid_t pid = fork();
		int st;
		if (pid == 0) {
			int fd = open("/dev/null", O_WRONLY);
			dup2(fd, 1);
			execvp(argv[0], argv);
			die(argv[0]);
		}
		if (pid < 0 || waitpid(pid, &st, 0) != pid)
			die("fork");
		if (st) {
			printf("FAIL %s status %#x\n", name, st);
			return 1;
		}
		n++;
		t = now() - t0;
		if (n == 1)
			first = t;
	} while (t < opt_secs);
	printf("BENCH %s %.6g %s sum=0 n=%ld t=%.4f first=%.4f\n", name, n / t, unit, n, t, first);
	return 0;
}

int main(int argc, char **argv)
{
	int c;
	opt_self = argv[0];
	while ((c = getopt(argc, argv, "+t:d:b:H:p:lc:x")) != -1) {
		switch (c) {
		case 't': opt_secs = atof(optarg); break;
		case 'd': opt_dir = optarg; break;
		case 'b': opt_disk = optarg; break;
		case 'H': opt_host = optarg; break;
		case 'p': opt_port = atoi(optarg); break;
		case 'x': return 0;    /* the fork+exec target */
		case 'c': {
			const char *name = optarg, *unit = argv[optind];
			if (optind + 2 >= argc)
				return 2;
			if (!strcmp(argv[++optind], "--"))
				optind++;
			return timecmd(name, unit, argv + optind);
		}
		case 'l':
			for (size_t g = 0; g < NGROUPS; g++)
				for (const workload *w = groups[g]; w->name; w++)
					printf("%s.%s %s\n", w->group, w->name, w->unit);
			return 0;
		default: return 2;
		}
	}
	for (; optind < argc; optind++)
		for (size_t g = 0; g < NGROUPS; g++)
			for (const workload *w = groups[g]; w->name; w++) {
				char full[64];
				snprintf(full, sizeof full, "%s.%s", w->group, w->name);
				if (!strcmp(argv[optind], w->group) || !strcmp(argv[optind], full))
					run(w);
			}
	return 0;
}
