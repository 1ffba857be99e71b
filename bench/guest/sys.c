/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel-heavy workloads: what an operating system does all day. */
#define _GNU_SOURCE
#include "bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <dirent.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static uint64_t sc_getpid(void)
{
	pid_t p = getpid();
	for (int i = 0; i < 20000; i++)
		if (syscall(SYS_getpid) != p)
			return 1;
	return 0;
}
static uint64_t clk(void)
{
	struct timespec t, u;
	clock_gettime(CLOCK_MONOTONIC, &t);
	for (int i = 0; i < 20000; i++) {
		clock_gettime(CLOCK_MONOTONIC, &u);
		if (u.tv_sec < t.tv_sec || (u.tv_sec == t.tv_sec && u.tv_nsec < t.tv_nsec))
			return 1;
		t = u;
	}
	return 0;
}
static int zfd, nfd;
static char *buf;
static int rd_init(void)
{
	zfd = open("/dev/zero", O_RDONLY);
	nfd = open("/dev/null", O_WRONLY);
	buf = malloc(1 << 20);
	return zfd < 0 || nfd < 0 || !buf;
}
static uint64_t rd_small(void)
{
	uint64_t n = 0;
	for (int i = 0; i < 10000; i++)
		n += read(zfd, buf, 1) + write(nfd, buf, 1);
	return n;
}
static uint64_t rd_big(void)
{
	uint64_t n = 0;
	for (int i = 0; i < 100; i++)
		n += read(zfd, buf, 64 << 10);
	return n;
}

/* two processes, one byte back and forth */
static int pa[2], pb[2];
static pid_t peer;
static int pp_start(int (*mk)(int[2]))
{
	if (mk(pa) || mk(pb))
		return 1;
	peer = fork();
	if (peer == 0) {
		char c;
		close(pa[1]); close(pb[0]);
		while (read(pa[0], &c, 1) == 1)
			if (write(pb[1], &c, 1) != 1)
				break;
		_exit(0);
	}
	close(pa[0]); close(pb[1]);
	return peer < 0;
}
static int mkpipe(int p[2]) { return pipe(p); }
static int mksock(int p[2]) { return socketpair(AF_UNIX, SOCK_STREAM, 0, p); }
static int pipe_init(void) { return pp_start(mkpipe); }
static int sock_init(void) { return pp_start(mksock); }
static uint64_t pingpong(void)
{
	char c = 'x';
	for (int i = 0; i < 1000; i++)
		if (write(pa[1], &c, 1) != 1 || read(pb[0], &c, 1) != 1)
			return 1;
	return 0;
}
static void pp_fini(void)
{
	close(pa[1]);
	waitpid(peer, NULL, 0);
}

static uint64_t do_fork(void)
{
	for (int i = 0; i < 20; i++) {
		pid_t p = fork();
		int st;
		if (p == 0)
			_exit(0);
		if (waitpid(p, &st, 0) != p || st)
			return 1;
	}
	return 0;
}
static uint64_t do_exec(void)
{
	for (int i = 0; i < 10; i++) {
		pid_t p = vfork();
		int st;
		if (p == 0) {
			execl(opt_self, opt_self, "-x", (char *)NULL);
			_exit(1);
		}
		if (waitpid(p, &st, 0) != p || st)
			return 1;
	}
	return 0;
}
static uint64_t fault(void)
{
	enum { N = 2048 };
	char *p = mmap(NULL, N * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return 1;
	madvise(p, N * 4096, MADV_NOHUGEPAGE);
	for (int i = 0; i < N; i++)
		p[i * 4096] = 1;
	munmap(p, N * 4096);
	return 0;
}
static char *mp;
static int mp_init(void)
{
	mp = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return mp == MAP_FAILED;
}
static uint64_t protect(void)
{
	for (int i = 0; i < 500; i++) {
		mprotect(mp, 16 * 4096, PROT_READ);
		(void)*(volatile char *)(mp + (i & 15) * 4096);
		mprotect(mp, 16 * 4096, PROT_READ | PROT_WRITE);
		mp[(i & 15) * 4096] = i;
	}
	return 0;
}
static volatile sig_atomic_t sigs;
static void on_sig(int s) { (void)s; sigs++; }
static int sig_init(void)
{
	signal(SIGUSR1, on_sig);
	return 0;
}
static uint64_t sig(void)
{
	pid_t p = getpid();
	int before = sigs;
	for (int i = 0; i < 2000; i++)
		kill(p, SIGUSR1);
	return sigs - before;
}
static char *segp;
static void on_segv(int s, siginfo_t *i, void *u)
{
	(void)s; (void)i; (void)u;
	mprotect(segp, 4096, PROT_READ | PROT_WRITE);
}
static int segv_init(void)
{
	struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &sa, NULL);
	segp = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return segp == MAP_FAILED;
}
static uint64_t segv(void)
{
	for (int i = 0; i < 500; i++) {
		mprotect(segp, 4096, PROT_NONE);
		*(volatile char *)segp = i;
	}
	return 0;
}

static char tdir[256];
static int tmp_init(void)
{
	snprintf(tdir, sizeof tdir, "%s/bw.%d", opt_dir, (int)getpid());
	return mkdir(tdir, 0700);
}
static void tmp_fini(void) { rmdir(tdir); }
static uint64_t files(void)
{
	char p[300];
	for (int i = 0; i < 200; i++) {
		snprintf(p, sizeof p, "%s/f%d", tdir, i);
		int fd = open(p, O_CREAT | O_WRONLY | O_TRUNC, 0600);
		if (fd < 0 || write(fd, p, 100) != 100)
			return 1;
		close(fd);
	}
	for (int i = 0; i < 200; i++) {
		snprintf(p, sizeof p, "%s/f%d", tdir, i);
		unlink(p);
	}
	return 0;
}
/* a tree of 20 x 50 files, walked and read through */
static int tree_init(void)
{
	char p[320], body[3000];
	if (tmp_init())
		return 1;
	memset(body, 'a', sizeof body);
	for (int d = 0; d < 20; d++) {
		snprintf(p, sizeof p, "%s/d%d", tdir, d);
		mkdir(p, 0700);
		for (int f = 0; f < 50; f++) {
			snprintf(p, sizeof p, "%s/d%d/file%d", tdir, d, f);
			int fd = open(p, O_CREAT | O_WRONLY, 0600);
			if (fd < 0 || write(fd, body, 100 + (f * 57) % 2900) < 0)
				return 1;
			close(fd);
		}
	}
	return 0;
}
static uint64_t walk1(const char *dir, int rdfiles)
{
	char p[600], b[4096];
	uint64_t n = 0;
	DIR *d = opendir(dir);
	struct dirent *e;
	if (!d)
		return 0;
	while ((e = readdir(d))) {
		struct stat st;
		if (e->d_name[0] == '.')
			continue;
		snprintf(p, sizeof p, "%s/%s", dir, e->d_name);
		if (lstat(p, &st))
			continue;
		if (S_ISDIR(st.st_mode))
			n += walk1(p, rdfiles);
		else if (rdfiles) {
			int fd = open(p, O_RDONLY);
			ssize_t r;
			while ((r = read(fd, b, sizeof b)) > 0)
				n += r;
			close(fd);
		} else
			n += st.st_size;
	}
	closedir(d);
	return n;
}
static uint64_t walk(void) { return walk1(tdir, 0); }
static uint64_t walkread(void) { return walk1(tdir, 1); }
static void tree_fini(void)
{
	char p[320];
	for (int d = 0; d < 20; d++) {
		for (int f = 0; f < 50; f++) {
			snprintf(p, sizeof p, "%s/d%d/file%d", tdir, d, f);
			unlink(p);
		}
		snprintf(p, sizeof p, "%s/d%d", tdir, d);
		rmdir(p);
	}
	rmdir(tdir);
}
/* sleep/wake: timer programming, idle, interrupt, schedule. 100 sleeps of 0.5 ms:
 * reported per second, so 2000 minus the overhead (and the timer slack, which is
 * set to 1 ns) is the most that can be reached. */
static uint64_t sleeper(void)
{
	struct timespec t = { 0, 500000 };
	for (int i = 0; i < 100; i++)
		nanosleep(&t, NULL);
	return 0;
}
#include <sys/prctl.h>
static int sleep_init(void) { return prctl(PR_SET_TIMERSLACK, 1); }

const workload sys_workloads[] = {
	{ "sys", "getpid", "Kcall/s", 20, sc_getpid, NULL, NULL },
	{ "sys", "clock_gettime", "Kcall/s", 20, clk, NULL, NULL },
	{ "sys", "read-write-1B", "Kcall/s", 20, rd_small, rd_init, NULL },
	{ "sys", "read-zero-64K", "MB/s", 100 * 65536 / 1e6, rd_big, rd_init, NULL },
	{ "sys", "pipe-pingpong", "Krtt/s", 1, pingpong, pipe_init, pp_fini },
	{ "sys", "sock-pingpong", "Krtt/s", 1, pingpong, sock_init, pp_fini },
	{ "sys", "fork-wait", "op/s", 20, do_fork, NULL, NULL },
	{ "sys", "exec-wait", "op/s", 10, do_exec, NULL, NULL },
	{ "sys", "page-fault", "Kpage/s", 2.048, fault, NULL, NULL },
	{ "sys", "mprotect", "Kcall/s", 1, protect, mp_init, NULL },
	{ "sys", "signal", "Ksig/s", 2, sig, sig_init, NULL },
	{ "sys", "segv-handler", "Kflt/s", 0.5, segv, segv_init, NULL },
	{ "sys", "tmpfs-create", "Kfile/s", 0.2, files, tmp_init, tmp_fini },
	{ "sys", "tree-walk", "Kfile/s", 1, walk, tree_init, tree_fini },
	{ "sys", "tree-read", "Kfile/s", 1, walkread, tree_init, tree_fini },
	{ "sys", "sleep-0.5ms", "wake/s", 100, sleeper, sleep_init, NULL },
	{ NULL, NULL, NULL, 0, NULL, NULL, NULL }
};
