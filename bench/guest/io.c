/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk (O_DIRECT on opt_disk) and network (TCP to opt_host:opt_port). */
#define _GNU_SOURCE
#include "bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sys/mman.h>

enum { MIB = 1 << 20, SPAN = 256 * MIB };
static int fd = -1;
static char *buf;
static off_t pos;
static uint64_t seed = 12345;

static int disk_init(void)
{
	if (!opt_disk)
		return 1;
	fd = open(opt_disk, O_RDWR | O_DIRECT);
	if (fd < 0)
		return 1;
	buf = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(buf, 0x5a, MIB);
	return lseek(fd, 0, SEEK_END) < SPAN;
}
static uint64_t seq(int wr)
{
	for (int i = 0; i < 16; i++, pos = (pos + MIB) % SPAN)
		if ((wr ? pwrite(fd, buf, MIB, pos) : pread(fd, buf, MIB, pos)) != MIB)
			die("disk");
	return 0;
}
static uint64_t rnd(int wr, int n)
{
	for (int i = 0; i < n; i++) {
		off_t o = (off_t)(rng(&seed) % (SPAN / 4096)) * 4096;
		if ((wr ? pwrite(fd, buf, 4096, o) : pread(fd, buf, 4096, o)) != 4096)
			die("disk");
	}
	return 0;
}
static uint64_t seqr(void) { return seq(0); }
static uint64_t seqw(void) { return seq(1); }
static uint64_t rndr(void) { return rnd(0, 200); }
static uint64_t rndw(void) { return rnd(1, 200); }
static uint64_t flushw(void)
{
	for (int i = 0; i < 20; i++) {
		rnd(1, 1);
		fdatasync(fd);
	}
	return 0;
}
static uint64_t rndr8(void)    /* queue depth 8 through 8 processes */
{
	for (int p = 0; p < 8; p++)
		if (fork() == 0) {
			seed += p * 7919;
			rnd(0, 200);
			_exit(0);
		}
	int st, bad = 0;
	while (wait(&st) > 0)
		bad |= st;
	return bad;
}

/* --- network: the peer (run-bench) reads one command byte:
 * 'S' sink, 'R' source, 'E' echo one byte ------------------------------------ */
static int s;
static int dial(char mode)
{
	if (!opt_host || !opt_port)
		return 1;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(opt_port) };
	int one = 1;
	inet_pton(AF_INET, opt_host, &a.sin_addr);
	s = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	buf = malloc(MIB);
	memset(buf, 'n', MIB);
	return connect(s, (void *)&a, sizeof a) || write(s, &mode, 1) != 1;
}
static int sink_init(void) { return dial('S'); }
static int src_init(void) { return dial('R'); }
static int echo_init(void) { return dial('E'); }
static uint64_t tx(void)
{
	for (int i = 0; i < 64; i++)
		for (int n = 0; n < 65536; ) {
			ssize_t r = write(s, buf, 65536 - n);
			if (r <= 0)
				die("net");
			n += r;
		}
	return 0;
}
static uint64_t rx(void)
{
	for (long n = 0; n < 64 * 65536; ) {
		ssize_t r = read(s, buf, 64 * 65536 - n > 65536 ? 65536 : 64 * 65536 - n);
		if (r <= 0)
			die("net");
		n += r;
	}
	return 0;
}
static uint64_t rr(void)
{
	char c = 'e';
	for (int i = 0; i < 100; i++)
		if (write(s, &c, 1) != 1 || read(s, &c, 1) != 1)
			die("net");
	return 0;
}
static uint64_t conn(void)
{
	for (int i = 0; i < 10; i++) {
		free(buf);
		char c = 'q';
		if (dial('E') || write(s, &c, 1) != 1 || read(s, &c, 1) != 1)
			die("net");
		close(s);
	}
	return 0;
}
static int conn_init(void) { return !opt_host || !opt_port; }
static void net_fini(void) { close(s); }

const workload io_workloads[] = {
	{ "disk", "seq-read-1M", "MB/s", 16 * MIB / 1e6, seqr, disk_init, NULL },
	{ "disk", "seq-write-1M", "MB/s", 16 * MIB / 1e6, seqw, disk_init, NULL },
	{ "disk", "rand-read-4k", "iop/s", 200, rndr, disk_init, NULL },
	{ "disk", "rand-write-4k", "iop/s", 200, rndw, disk_init, NULL },
	{ "disk", "rand-read-4k-q8", "iop/s", 1600, rndr8, disk_init, NULL },
	{ "disk", "write-flush-4k", "iop/s", 20, flushw, disk_init, NULL },
	{ "net", "tcp-send", "MB/s", 64 * 65536 / 1e6, tx, sink_init, net_fini },
	{ "net", "tcp-recv", "MB/s", 64 * 65536 / 1e6, rx, src_init, net_fini },
	{ "net", "tcp-rtt", "rtt/s", 100, rr, echo_init, net_fini },
	{ "net", "tcp-connect", "conn/s", 10, conn, conn_init, NULL },
	{ NULL, NULL, NULL, 0, NULL, NULL, NULL }
};
